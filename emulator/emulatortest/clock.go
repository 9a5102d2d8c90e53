package emulatortest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// drainPatience bounds how long Drain waits without any progress when its context
// has no deadline.
const drainPatience = 10 * time.Minute

// Drain waits until no queue that runs has a task left, also for those that are
// due later: in a bubble, time jumps to them. Paused queues don't count. The
// error says which queues still have tasks, when ctx ends, or when there is no
// progress for 10 minutes (of the bubble's time) beyond the next due task. A task
// that fails for ever is attempted until then, or until its queue gives it up.
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
		if idle && next.After(now) { // nothing can happen before
			pause = next.Sub(now)
			since = next
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

// left returns the running queues that have tasks.
func (e *Env) left() []cloudtasks.QueueStats {
	var out []cloudtasks.QueueStats
	for _, q := range e.Suite.Stats().CloudTasks.Queues {
		if q.State == "RUNNING" && (q.Tasks > 0 || q.Running > 0) {
			out = append(out, q)
		}
	}
	return out
}

// Advance lets d pass in the bubble, and then waits until everything in it waits
// for time or for the test. Outside of a bubble it ends the test.
func (e *Env) Advance(d time.Duration) {
	e.t.Helper()
	if !inBubble() {
		e.t.Fatalf("emulatortest: Advance(%v) needs fake time: run the test with synctest.Test", d)
		return
	}
	<-time.After(d)
	synctest.Wait()
}

func inBubble() (yes bool) {
	defer func() { yes = recover() == nil }() // Wait panics outside
	synctest.Wait()
	return true
}
