package tasks

import (
	"fmt"
	"time"
)

// Verdict is an error by which a handler decides what becomes of its task.
// Any other error means: count a failure and try again.
type Verdict struct {
	Kind   VerdictKind
	Delay  time.Duration // of a snooze
	Reason error         // of a cancel, a death or back-pressure
}

// VerdictKind is the decision.
type VerdictKind int

const (
	VerdictSnooze VerdictKind = iota + 1
	VerdictCancel
	VerdictDead
	VerdictBackPressure
)

func (v *Verdict) Error() string {
	switch v.Kind {
	case VerdictSnooze:
		return fmt.Sprintf("snooze for %v", v.Delay)
	case VerdictCancel:
		return fmt.Sprintf("cancel: %v", v.Reason)
	case VerdictDead:
		return fmt.Sprintf("dead: %v", v.Reason)
	default:
		return fmt.Sprintf("back-pressure: %v", v.Reason)
	}
}

// Unwrap is the reason.
func (v *Verdict) Unwrap() error { return v.Reason }

// Snooze discards the handler's writes and runs the task again after d, as the
// same execution with its failures so far.
func Snooze(d time.Duration) error { return &Verdict{Kind: VerdictSnooze, Delay: d} }

// Cancel discards the handler's writes and ends the execution for good.
func Cancel(reason error) error { return &Verdict{Kind: VerdictCancel, Reason: reason} }

// Dead discards the handler's writes and sends the task to the dead letters
// without further attempts.
func Dead(reason error) error { return &Verdict{Kind: VerdictDead, Reason: reason} }

// BackPressure discards the handler's writes and slows the whole queue down
// (503); nothing is counted.
func BackPressure(reason error) error { return &Verdict{Kind: VerdictBackPressure, Reason: reason} }
