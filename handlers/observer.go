package handlers

import (
	"sync/atomic"
	"time"
)

// Outcome is how a delivery ended.
type Outcome int

const (
	OutcomeCommitted    Outcome = iota // the handler's work is done
	OutcomeDuplicate                   // the ledger had a final state
	OutcomeBusy                        // another delivery holds the lock: 409
	OutcomeCoalesced                   // busy, and the next slot's task exists
	OutcomeBusyDone                    // busy, and the class leaves it to the holder
	OutcomeFailed                      // counted: error, panic, refused commit
	OutcomeTimedOut                    // counted: past the handler's deadline
	OutcomeContention                  // uncounted: transactions kept colliding
	OutcomeUnavailable                 // uncounted: Datastore, queue or lock in trouble
	OutcomeInterrupted                 // uncounted: lock lost, or the caller went away
	OutcomeShutdown                    // uncounted: this process is ending
	OutcomeBackPressure                // uncounted: the handler asked to slow down
	OutcomeSnoozed                     // moved to a later hop by the handler
	OutcomeLeg                         // moved to the next leg of a far ETA
	OutcomeCancelled                   // ended by the handler
	OutcomeDead                        // in the dead letters
	OutcomeUnknownClass                // 404
	OutcomeNewerVersion                // 404
	OutcomeMalformed                   // its summary is in the dead letters
	OutcomeForbidden                   // 403
	OutcomeBadRequest                  // not a push at all
	outcomes
)

// Event describes one delivery.
type Event struct {
	Outcome   Outcome
	Status    int // answered
	Class     string
	ID        string
	Hop       int
	Attempt   int
	Conflicts int // transactions of this delivery that ended ABORTED
	Took      time.Duration
	Err       error
}

// Observer learns of every delivery after it is answered for. It must be quick
// and safe for concurrent use.
type Observer interface{ Delivered(Event) }

// Counters is an Observer that counts.
type Counters struct {
	byOutcome [outcomes]atomic.Int64
	conflicts atomic.Int64
}

// Delivered counts e.
func (c *Counters) Delivered(e Event) {
	if e.Outcome >= 0 && e.Outcome < outcomes {
		c.byOutcome[e.Outcome].Add(1)
	}
	c.conflicts.Add(int64(e.Conflicts))
}

// Count returns how many deliveries ended in o.
func (c *Counters) Count(o Outcome) int64 {
	if o < 0 || o >= outcomes {
		return 0
	}
	return c.byOutcome[o].Load()
}

// Conflicts returns how many transactions ended ABORTED.
func (c *Counters) Conflicts() int64 { return c.conflicts.Load() }
