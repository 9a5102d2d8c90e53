package clock

import (
	"context"
	"time"
)

// A Timer fires once when its time has come on its clock. As with package time,
// nothing stale is received from C after Stop or Reset.
type Timer struct {
	C <-chan time.Time // receives the clock's time; nil for AfterFunc

	clock    *Clock
	real     *time.Timer // of a nil clock; the rest is unused then
	c        chan time.Time
	f        func()
	deadline time.Time
	index    int // in Clock.due; -1: it isn't there
}

// NewTimer returns a timer that fires after d.
func (c *Clock) NewTimer(d time.Duration) *Timer {
	if c == nil {
		real := time.NewTimer(d)
		return &Timer{C: real.C, real: real}
	}
	ch := make(chan time.Time, 1)
	t := &Timer{C: ch, c: ch, clock: c, index: -1}
	t.Reset(d)
	return t
}

// AfterFunc calls f in a goroutine of its own after d.
func (c *Clock) AfterFunc(d time.Duration, f func()) *Timer {
	if c == nil {
		return &Timer{real: time.AfterFunc(d, f)}
	}
	t := &Timer{f: f, clock: c, index: -1}
	t.Reset(d)
	return t
}

// Sleep waits for d. It returns the cause of ctx's end if that comes first.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reset makes the timer fire d from now, and reports whether it was pending.
func (t *Timer) Reset(d time.Duration) bool {
	if t.real != nil {
		return t.real.Reset(d)
	}
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.set(t.clock.reading.Load().now().Add(d))
}

// ResetAt makes the timer fire at a time of its clock; one that is past fires at
// once. Unlike Reset it can't be misled by an advance between the caller's look
// at the clock and this call.
func (t *Timer) ResetAt(at time.Time) bool {
	if t.real != nil {
		return t.real.Reset(time.Until(at))
	}
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	now := t.clock.reading.Load().now()
	return t.set(now.Add(at.Sub(now))) // with a monotonic reading, as all deadlines
}

// set is called with the clock's lock held.
func (t *Timer) set(deadline time.Time) (pending bool) {
	pending = t.stop()
	t.deadline = deadline
	t.clock.push(t)
	t.clock.settle()
	return pending
}

// Stop keeps the timer from firing, and reports whether it was pending.
func (t *Timer) Stop() bool {
	if t.real != nil {
		return t.real.Stop()
	}
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.stop()
}

func (t *Timer) stop() (pending bool) {
	if t.index >= 0 {
		t.clock.remove(t.index)
		return true
	}
	if t.c == nil {
		return false
	}
	select {
	case <-t.c:
		return true // fired, and nobody has looked
	default:
		return false
	}
}

func (t *Timer) fire(now time.Time) {
	if t.f != nil {
		go t.f()
		return
	}
	t.c <- now // there is room: a timer that is set has been emptied
}

// settle fires what is due, first come first, and sees to it that the rest will
// be. mu is held.
func (c *Clock) settle() {
	r := c.reading.Load()
	now := r.now()
	for len(c.due) > 0 && !c.due[0].deadline.After(now) {
		c.remove(0).fire(now)
	}
	if len(c.due) == 0 || r.frozen {
		return // a wake-up that is too early only looks
	}
	first := c.due[0].deadline.Add(-r.offset) // by the machine's clock
	if !c.armed.IsZero() && !first.Before(c.armed) {
		return
	}
	c.armed = first
	if c.wake == nil {
		c.wake = time.AfterFunc(time.Until(first), c.woken)
	} else {
		c.wake.Reset(time.Until(first))
	}
}

func (c *Clock) woken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = time.Time{}
	c.settle()
}

func (c *Clock) push(t *Timer) {
	c.due = append(c.due, t)
	c.up(len(c.due) - 1)
}

// remove takes the timer at index i out of the heap.
func (c *Clock) remove(i int) *Timer {
	t, last := c.due[i], len(c.due)-1
	c.due[i] = c.due[last]
	c.due[last] = nil
	c.due = c.due[:last]
	if i < last {
		c.due[i].index = i
		c.down(i)
		c.up(i)
	}
	t.index = -1
	return t
}

func (c *Clock) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !c.due[i].deadline.Before(c.due[parent].deadline) {
			break
		}
		c.swap(i, parent)
		i = parent
	}
	c.due[i].index = i
}

func (c *Clock) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(c.due) {
			return
		}
		if right := child + 1; right < len(c.due) && c.due[right].deadline.Before(c.due[child].deadline) {
			child = right
		}
		if !c.due[child].deadline.Before(c.due[i].deadline) {
			return
		}
		c.swap(i, child)
		i = child
	}
}

func (c *Clock) swap(i, j int) {
	c.due[i], c.due[j] = c.due[j], c.due[i]
	c.due[i].index, c.due[j].index = i, j
}
