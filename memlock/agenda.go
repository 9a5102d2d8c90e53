package memlock

import (
	"math/rand/v2"
	"sync"
	"time"
)

// An agenda says when the leases of a Locker are refreshed, with one timer for
// all. To set a timer for each lock and stop it a moment later would wake a
// thread of the runtime each time, which costs as much as a call of memcached.
type agenda struct {
	every time.Duration // the longest pause before a refresh

	mu    sync.Mutex
	due   map[*lease]time.Time
	armed time.Time // when the timer fires; the zero time without one
}

// add has h.tick called at most the given time from now, drawn from its last
// quarter: locks taken at one instant shall not refresh at one instant.
func (a *agenda) add(h *lease, within time.Duration) {
	now := time.Now()
	latest := within - a.grain()
	due := now.Add(latest - rand.N(max(1, latest-within*3/4)))

	a.mu.Lock()
	defer a.mu.Unlock()
	a.due[h] = due
	if a.armed.Before(now) || a.armed.After(due) {
		a.arm(now, due)
	}
}

func (a *agenda) remove(h *lease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.due, h)
}

// arm sets the timer, early enough for any lease that is added from now on, so
// that add seldom has to.
func (a *agenda) arm(now, due time.Time) {
	if soonest := now.Add(a.every * 3 / 4); soonest.Before(due) {
		due = soonest
	}
	a.armed = due
	time.AfterFunc(due.Sub(now), func() { a.fire(due) })
}

// fire is the timer that was armed for the given time.
func (a *agenda) fire(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at != a.armed {
		return // an earlier one took its place
	}
	a.armed = time.Time{}
	now := time.Now()
	next := now.Add(a.every)
	for h, due := range a.due {
		if !due.After(now) {
			delete(a.due, h)
			go h.tick()
		} else if due.Before(next) {
			next = due
		}
	}
	if len(a.due) > 0 {
		if soonest := now.Add(a.grain()); next.Before(soonest) {
			next = soonest
		}
		a.arm(now, next)
	}
}

// grain bounds how often all leases are looked through: 256 times in a pause.
func (a *agenda) grain() time.Duration { return a.every / 256 }
