package clock

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// latest is the time beyond which no clock is advanced: nanoseconds since 1970
// fit an int64 for decades more.
var latest = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// A Clock is the machine's clock with an offset, or one that stands still. New
// makes it; nil is the machine's clock itself, which can't be moved.
type Clock struct {
	reading atomic.Pointer[reading] // nil while Freeze takes one

	mu    sync.Mutex // orders the changes of reading, and guards the timers
	due   []*Timer   // a heap by deadline
	wake  *time.Timer
	armed time.Time // for when wake is set; zero: it isn't
}

// reading says how the time is told. It never changes.
type reading struct {
	offset time.Duration // from the machine's clock
	frozen bool
	at     time.Time // when frozen
}

func (r *reading) now() time.Time {
	if r.frozen {
		return r.at
	}
	return time.Now().Add(r.offset)
}

// New returns a clock that agrees with the machine's.
func New() *Clock {
	c := &Clock{}
	c.reading.Store(&reading{})
	return c
}

// Now returns the time, with a monotonic reading of its own: compare it with
// times of this clock only.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	for {
		r := c.reading.Load()
		if r == nil { // being frozen
			c.mu.Lock()
			r = c.reading.Load()
			c.mu.Unlock()
		}
		// A time taken before a freeze must not be returned after it.
		if now := r.now(); r == c.reading.Load() {
			return now
		}
	}
}

// Since returns the time that has passed since t.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until returns the time that is left until t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// State is how a clock stands.
type State struct {
	Now    time.Time
	Offset time.Duration // from the machine's clock to Now
	Frozen bool
}

// State returns how the clock stands.
func (c *Clock) State() State {
	if c == nil {
		return State{Now: time.Now()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reading.Load()
	if r.frozen {
		return State{Now: r.at, Offset: time.Until(r.at), Frozen: true}
	}
	return State{Now: r.now(), Offset: r.offset}
}

// Freeze stops the clock; it can still be advanced. Freezing again does nothing.
func (c *Clock) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reading.Load()
	if r.frozen {
		return
	}
	c.reading.Store(nil)
	c.reading.Store(&reading{frozen: true, at: r.now()})
	c.settle()
}

// Resume lets a frozen clock run on from where it stands.
func (c *Clock) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.reading.Load(); r.frozen {
		c.reading.Store(&reading{offset: time.Until(r.at)})
		c.settle()
	}
}

// Advance moves the clock ahead by d, and fires what has fallen due. It refuses
// to go back, and to go beyond the year 2199.
func (c *Clock) Advance(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.advance(d)
}

// AdvanceTo moves the clock ahead to t, likewise.
func (c *Clock) AdvanceTo(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.reading.Load().now()
	if t.Before(now) {
		return fmt.Errorf("the clock can't be set to %s: it stands at %s and never goes back", stamp(t), stamp(now))
	}
	return c.advance(t.Sub(now))
}

// advance is Advance with mu held.
func (c *Clock) advance(d time.Duration) error {
	r := *c.reading.Load()
	now := r.now()
	switch {
	case d < 0:
		return fmt.Errorf("the clock can't be advanced by %v: it never goes back", d)
	case d > latest.Sub(now):
		return fmt.Errorf("the clock can't be advanced by %v: it stands at %s and goes no further than %s", d, stamp(now), stamp(latest))
	}
	r.offset += d
	r.at = r.at.Add(d)
	if !r.frozen {
		r.at = time.Time{}
	}
	c.reading.Store(&r)
	c.settle()
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
