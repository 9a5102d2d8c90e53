package messages

import (
	"testing/synctest"
	"time"
)

// clock is the time of a test. It is fake in a bubble, where waiting costs
// nothing, and real where a server takes part that no bubble can hold. There,
// spans are shorter, and what must happen may happen late.
type clock struct{ fake bool }

// span is one of the two: as the application has it, or as a test can wait for.
func (c clock) span(fake, real time.Duration) time.Duration {
	if c.fake {
		return fake
	}
	return real
}

// late is the latest that something may come which is expected within d: fake
// time is exact, and a busy machine is not.
func (c clock) late(d time.Duration) time.Duration { return c.span(d, 3*d+10*time.Second) }

// shorten fills in what the test leaves to the defaults.
func (c clock) shorten(o *Options) {
	if c.fake {
		return
	}
	for _, s := range []struct {
		of   *time.Duration
		real time.Duration
	}{
		{&o.Slot, time.Second},
		{&o.DustSettle, 500 * time.Millisecond},
		{&o.Reminder, 3 * time.Second},
	} {
		if *s.of == 0 {
			*s.of = s.real
		}
	}
}

// Advance lets d pass; fake time passes until everything waits.
func (c clock) Advance(d time.Duration) {
	<-time.After(d)
	if c.fake {
		synctest.Wait()
	}
}

// wait looks every now and then whether the condition holds: for half an hour of
// fake time, or three minutes.
func (c clock) wait(holds func() bool) bool {
	pause := c.span(500*time.Millisecond, 50*time.Millisecond)
	end := time.Now().Add(c.span(30*time.Minute, 3*time.Minute))
	for !holds() {
		if time.Now().After(end) {
			return false
		}
		c.Advance(pause)
	}
	return true
}
