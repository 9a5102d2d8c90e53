package handlers

import (
	"sync/atomic"
	"time"
)

// Event describes one delivery.
type Event struct {
	Outcome   Outcome
	Status    int    // answered
	Class     string // of the URL: anybody's word when the outcome is OutcomeForbidden
	ID        string // empty when the delivery did not get as far as its body
	Hop       int
	Attempt   int // deliveries of this hop so far, this one included
	Conflicts int // transactions of this delivery that ended ABORTED
	Took      time.Duration
	Err       error // why, unless the outcome says it all
}

// Observer learns of every delivery after it was answered. It must be quick,
// and safe for concurrent use.
type Observer interface{ Delivered(Event) }

// Counters is an Observer that counts. The zero value is ready.
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

// All returns the counts that are not zero, by outcome.
func (c *Counters) All() map[Outcome]int64 {
	all := make(map[Outcome]int64)
	for o := range outcomes {
		if n := c.Count(o); n != 0 {
			all[o] = n
		}
	}
	return all
}

// Conflicts returns how many transactions ended ABORTED.
func (c *Counters) Conflicts() int64 { return c.conflicts.Load() }
