package emulatortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// drainPatience bounds how long Drain waits without any progress when its context
// has no deadline.
const drainPatience = 10 * time.Minute

// Drain waits until no queue that runs has a task left, also for those that are
// due later: in a bubble, time jumps to them; outside of one, and when the clock is
// frozen, Advance first. Paused queues and pull queues don't count. The error says which queues
// still have tasks: when ctx ends, when there is no progress for 10 minutes (of the
// bubble's time) beyond the next due task, or when the clock is frozen and nothing
// is due. A task that fails for ever is attempted until then, or until its queue
// gives it up.
func (e *Env) Drain(ctx context.Context) error {
	const shortest, longest = time.Millisecond, 100 * time.Millisecond
	pause := shortest
	type progress struct {
		attempts uint64
		tasks    int
	}
	var last progress // any change is one
	since := time.Now()
	for {
		left := e.left()
		if len(left) == 0 {
			return nil
		}
		clock := e.Suite.Clock().State()
		now := time.Now()
		var current progress
		idle := true
		var next time.Time
		for _, q := range left {
			current.attempts += q.Attempts
			current.tasks += q.Tasks
			idle = idle && q.Running == 0
			if !q.OldestETA.IsZero() && (next.IsZero() || q.OldestETA.Before(next)) {
				next = q.OldestETA
			}
		}
		if current != last {
			last, since, pause = current, now, shortest
		}
		if idle && next.After(clock.Now) { // nothing can happen before
			if clock.Frozen {
				return fmt.Errorf("emulatortest: the clock is frozen and nothing is due: %w", &NotDrainedError{left})
			}
			pause = next.Sub(clock.Now)
			since = now.Add(pause)
		}
		if now.Sub(since) > drainPatience {
			return fmt.Errorf("emulatortest: nothing moves for %v: %w", drainPatience, &NotDrainedError{left})
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(context.Cause(ctx), &NotDrainedError{left})
		}
		pause = min(2*pause, longest)
	}
}

// A NotDrainedError has the queues that still have tasks.
type NotDrainedError struct{ Queues []cloudtasks.QueueStats }

// Error lists the queues and the numbers of their tasks.
func (e *NotDrainedError) Error() string {
	var s strings.Builder
	s.WriteString("not drained:")
	for _, q := range e.Queues {
		fmt.Fprintf(&s, " %s has %d tasks (%d running)", q.Name, q.Tasks, q.Running)
	}
	return s.String()
}

// left returns the running queues that have tasks to deliver.
func (e *Env) left() []cloudtasks.QueueStats {
	var out []cloudtasks.QueueStats
	for _, q := range e.Suite.Stats().CloudTasks.Queues {
		if q.State == "RUNNING" && !q.Pull && (q.Tasks > 0 || q.Running > 0) {
			out = append(out, q)
		}
	}
	return out
}

// Advance lets d pass. In a bubble it passes for everything in it, and Advance
// returns when everything waits for time or for the test. Outside of one, and when
// the clock is frozen, it is the emulators' clock alone that jumps ahead; outside,
// Advance then waits until what has fallen due was delivered, for
// Options.Patience at most, or ends the test. Suite.Clock has an Advance that
// doesn't wait.
func (e *Env) Advance(d time.Duration) {
	e.t.Helper()
	clock := e.Suite.Clock()
	bubble := inBubble()
	if bubble && !clock.State().Frozen {
		<-time.After(d)
	} else if err := clock.Advance(d); err != nil {
		e.t.Fatalf("emulatortest: %v", err)
		return
	}
	if bubble {
		synctest.Wait()
		return
	}
	e.settle(d)
}

// settle waits until no delivery is due or under way.
func (e *Env) settle(d time.Duration) {
	e.t.Helper()
	late := time.After(e.options.Patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		now := e.Suite.Clock().Now()
		busy := slices.DeleteFunc(e.left(), func(q cloudtasks.QueueStats) bool {
			return q.Running == 0 && (q.OldestETA.IsZero() || q.OldestETA.After(now))
		})
		if len(busy) == 0 {
			return
		}
		select {
		case <-time.After(pause):
		case <-late:
			e.t.Fatalf("emulatortest: %v after Advance(%v) deliveries are still due or under way: %v", e.options.Patience, d, &NotDrainedError{busy})
			return
		}
	}
}

// Freeze stops the emulators' clock: nothing falls due until it is advanced or
// resumed. What is due already, and deadlines, are not held; see package emulator.
func (e *Env) Freeze() { e.Suite.Clock().Freeze() }

// Resume lets the emulators' clock run on from where it stands.
func (e *Env) Resume() { e.Suite.Clock().Resume() }

// SetChaos replaces what goes wrong; the zero settings are nothing. Settings that
// break a rule end the test.
func (e *Env) SetChaos(s emulator.ChaosSettings) {
	e.t.Helper()
	if err := e.Suite.Chaos().Set(s); err != nil {
		e.t.Fatalf("emulatortest: %v", err)
	}
}

func inBubble() (yes bool) {
	defer func() { yes = recover() == nil }() // Wait panics outside
	synctest.Wait()
	return true
}
