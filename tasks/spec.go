package tasks

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Limits that hold for every class.
const (
	// MaxEnvelopeBytes bounds an encoded task, payload included, when it is
	// enqueued.
	MaxEnvelopeBytes = 900 << 10

	// hopBytes is what later hops and dates may add to it.
	hopBytes = 256

	maxTimeout   = 24 * time.Hour
	maxTxTimeout = 240 * time.Second // transactions die at 270 s
	maxMaxAge    = 14 * 24 * time.Hour
	maxSlot      = time.Hour

	// The queue deletes a task 31 d after its creation and takes ETAs of 30 d.
	// 28 d less MaxAge leaves room to retry what came due last.
	queueReach     = 28 * 24 * time.Hour
	queueRetention = 31 * 24 * time.Hour

	// dispatchSlack is what the queue waits beyond the handler's own deadline:
	// for a handler's grace, and for the failure to be counted.
	dispatchSlack = 15 * time.Second
)

var (
	className = naming{regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)}
	queueName = naming{regexp.MustCompile(`^[A-Za-z0-9-]+$`)}
	namespace = naming{regexp.MustCompile(`^[A-Za-z0-9._-]*$`)}
)

// A naming is a rule for names of at most 100 characters. The expression doesn't
// count them: compiling a repetition up to 100 would take longer than all else at
// the start of a worker.
type naming struct{ characters *regexp.Regexp }

// MatchString reports whether name follows the rule.
func (n naming) MatchString(name string) bool {
	return len(name) <= 100 && n.characters.MatchString(name)
}

// Spec is a class without its type: what queue and runner need to know.
type Spec struct {
	Name        string
	Aliases     []string
	Queue       string
	Version     int
	Timeout     time.Duration
	MaxAttempts int
	MaxAge      time.Duration
	Backoff     Backoff
	Busy        Busy
	Slot        time.Duration

	err error
}

// Err says which rules the class breaks; nil when it can be used.
func (s Spec) Err() error { return s.err }

// Ledgered reports whether executions of the class have ledger rows: those of
// coalescing classes don't.
func (s Spec) Ledgered() bool { return s.Busy != BusyCoalesce }

// reach is how far ahead one leg of a task can be scheduled.
func (s Spec) reach() time.Duration { return queueReach - s.MaxAge }

func (s Spec) withDefaults() Spec {
	s.Queue = cmp.Or(s.Queue, "default")
	s.Version = cmp.Or(s.Version, 1)
	s.Timeout = cmp.Or(s.Timeout, time.Minute)
	s.MaxAttempts = cmp.Or(s.MaxAttempts, 25)
	s.MaxAge = cmp.Or(s.MaxAge, 7*24*time.Hour)
	s.Backoff.Min = cmp.Or(s.Backoff.Min, time.Second)
	s.Backoff.Max = cmp.Or(s.Backoff.Max, max(10*time.Minute, s.Backoff.Min))
	s.Backoff.Doublings = max(0, cmp.Or(s.Backoff.Doublings, 10))
	return s
}

// validate checks a spec that has its defaults.
func (s Spec) validate(hasLockKey bool) error {
	var errs []error
	rule := func(ok bool, field string, value any, rule string) {
		if !ok {
			errs = append(errs, &RuleError{fmt.Sprintf("class %q: %s", s.Name, field), value, rule})
		}
	}
	const nameRule = "must be 1 to 100 characters [A-Za-z0-9._-], the first a letter or digit"
	rule(className.MatchString(s.Name), "name", fmt.Sprintf("%q", s.Name), nameRule)
	for i, a := range s.Aliases {
		rule(className.MatchString(a), "Aliases", fmt.Sprintf("%q", a), nameRule)
		rule(a != s.Name && !slices.Contains(s.Aliases[:i], a), "Aliases", fmt.Sprintf("%q", a), "must differ from the name and from each other")
	}
	rule(queueName.MatchString(s.Queue), "Queue", fmt.Sprintf("%q", s.Queue), "must be 1 to 100 characters [A-Za-z0-9-]")
	rule(s.Version >= 1, "Version", s.Version, "must be at least 1")
	rule(s.Timeout >= time.Millisecond && s.Timeout <= maxTimeout, "Timeout", s.Timeout, "must be 1 ms to 24 h")
	rule(s.MaxAttempts >= 1 && s.MaxAttempts <= 1e6, "MaxAttempts", s.MaxAttempts, "must be 1 to 1,000,000")
	rule(s.MaxAge >= time.Second && s.MaxAge <= maxMaxAge, "MaxAge", s.MaxAge, "must be 1 s to 14 d")
	rule(s.Backoff.Min >= 0 && s.Backoff.Min <= s.Backoff.Max, "Backoff.Min", s.Backoff.Min, "must be at least 0 and at most Max")
	rule(s.Backoff.Max <= 24*time.Hour, "Backoff.Max", s.Backoff.Max, "must be at most 24 h")
	rule(s.Backoff.Doublings <= 32, "Backoff.Doublings", s.Backoff.Doublings, "must be at most 32")
	switch s.Busy {
	case BusyRetry, BusyDone:
		rule(s.Slot == 0, "Slot", s.Slot, "is for BusyCoalesce only")
	case BusyCoalesce:
		rule(hasLockKey, "LockKey", "nil", "BusyCoalesce needs one")
		rule(s.Slot >= time.Millisecond && s.Slot <= maxSlot && s.Slot%time.Millisecond == 0, "Slot", s.Slot, "BusyCoalesce needs 1 ms to 1 h, in whole milliseconds")
	default:
		rule(false, "Busy", int(s.Busy), "must be BusyRetry, BusyCoalesce or BusyDone")
	}
	return errors.Join(errs...)
}

// SlotAt is the slot for work that is ready at t: a multiple of slot, over
// 3/4 slot and at most 7/4 slot after t.
func SlotAt(t time.Time, slot time.Duration) time.Time {
	if slot <= 0 {
		return t
	}
	return t.Add(slot + slot/4).Round(slot)
}
