package clock

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// both runs a test on the machine's clock and on one of ours that is ahead of it.
func both(t *testing.T, test func(t *testing.T, c *Clock)) {
	t.Run("nil", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, nil) }) })
	t.Run("new", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, New()) }) })
	t.Run("advanced", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := New()
			advance(t, c, 36*time.Hour)
			test(t, c)
		})
	})
	t.Run("behind", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := New()
			c.Freeze()
			time.Sleep(time.Hour)
			c.Resume()
			test(t, c)
		})
	})
}

func advance(t *testing.T, c *Clock, d time.Duration) {
	t.Helper()
	if err := c.Advance(d); err != nil {
		t.Fatal(err)
	}
}

func TestTimersFollowTheClock(t *testing.T) {
	both(t, func(t *testing.T, c *Clock) {
		start := c.Now()
		timer := c.NewTimer(time.Minute)
		<-timer.C
		if took := c.Since(start); took != time.Minute {
			t.Errorf("fired after %v, want a minute", took)
		}
		if timer.Stop() || timer.Reset(time.Hour) {
			t.Error("a timer whose time was received was pending")
		}
		if !timer.ResetAt(c.Now().Add(time.Second)) {
			t.Error("a timer set for an hour was not pending")
		}
		<-timer.C
		if took := c.Since(start); took != time.Minute+time.Second {
			t.Errorf("fired after %v, want a minute and a second", took)
		}
		if left := c.Until(start.Add(time.Hour)); left != time.Hour-time.Minute-time.Second {
			t.Errorf("%v left", left)
		}
		timer.ResetAt(start) // is past
		<-timer.C
		timer.Reset(-time.Second)
		time.Sleep(time.Second)
		if !timer.Stop() {
			t.Error("a timer whose time nobody received was not pending")
		}
		select {
		case <-timer.C:
			t.Error("a stopped timer fired")
		case <-time.After(time.Hour):
		}

		var called time.Time
		f := c.AfterFunc(time.Minute, func() { called = c.Now() })
		set := c.Now()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if called.Sub(set) != time.Minute {
			t.Errorf("called after %v, want a minute", called.Sub(set))
		}
		f.Reset(time.Minute)
		if !f.Stop() || f.Stop() {
			t.Error("a function set for later was not pending once")
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	both(t, func(t *testing.T, c *Clock) {
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(why) })
		if err := c.Sleep(ctx, 59*time.Second); err != nil {
			t.Error(err)
		}
		if err := c.Sleep(ctx, 2*time.Second); err != why {
			t.Errorf("Sleep returned %v, want its context's cause", err)
		}
	})
}

// What an advance passes over fires at once and in order; the rest keeps its
// distance.
func TestAdvanceFiresInOrder(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := New()
			if frozen {
				c.Freeze()
			}
			var mu sync.Mutex
			var fired []int
			var wake []<-chan time.Time
			hours := []int{5, 1, 4, 9, 3, 8, 2, 7, 6, 25, 30}
			start := c.Now()
			for _, h := range hours {
				wake = append(wake, c.NewTimer(time.Duration(h)*time.Hour).C)
			}
			at := make(map[int]time.Time)
			for i, h := range hours {
				go func() {
					now := <-wake[i]
					mu.Lock()
					defer mu.Unlock()
					fired = append(fired, h)
					at[h] = now
				}()
			}
			advance(t, c, 24*time.Hour)
			synctest.Wait()
			mu.Lock() // against the timer that fires while this sleeps
			if len(fired) != 9 {
				t.Errorf("fired: %v; want all within 24 hours", fired)
			}
			for h, now := range at {
				if now.Sub(start) != 24*time.Hour {
					t.Errorf("the timer of %d h was told %v, want the clock's time", h, now)
				}
			}
			mu.Unlock()
			time.Sleep(time.Hour)
			advance(t, c, 6*time.Hour) // 30 or 31 in all
			synctest.Wait()
			if len(fired) != 11 {
				t.Errorf("fired: %v; want all", fired)
			}
			c.Resume()
			time.Sleep(time.Hour)
		})
	}
}

// The order in which an advance fires timers is that of their times, whatever was
// stopped, moved or left of them before.
func TestHeapKeepsOrder(t *testing.T) {
	c := New()
	c.Freeze()
	start := c.Now()
	var timers []*Timer
	for i := range 500 {
		timers = append(timers, c.NewTimer(time.Duration(1+i*7919%500)*time.Second))
	}
	for i := 0; i < 500; i += 3 {
		timers[i].Stop()
	}
	for i := 1; i < 500; i += 3 {
		timers[i].Reset(time.Duration(1+i*104729%1000) * time.Second)
	}
	var last time.Time
	for n := len(c.due); n > 0; n = len(c.due) {
		first := c.due[0]
		if first.deadline.Before(last) {
			t.Fatal("timers are out of order")
		}
		last = first.deadline
		if err := c.AdvanceTo(first.deadline); err != nil {
			t.Fatal(err)
		}
		if len(c.due) == n {
			t.Fatal("the first timer didn't fire")
		}
		for i, t2 := range c.due {
			if t2.index != i {
				t.Fatalf("timer %d thinks that it is at %d", i, t2.index)
			}
		}
	}
	if c.Since(start) > 1001*time.Second {
		t.Errorf("the last timer fired after %v", c.Since(start))
	}
}

func TestFrozenClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		timer := c.NewTimer(time.Hour)
		time.Sleep(30 * time.Minute)
		c.Freeze()
		c.Freeze()
		at := c.Now()
		time.Sleep(48 * time.Hour)
		select {
		case <-timer.C:
			t.Error("a timer fired on a frozen clock")
		default:
		}
		if s := c.State(); !c.Now().Equal(at) || s.Offset != -48*time.Hour || !s.Frozen || !s.Now.Equal(at) {
			t.Errorf("time went on: %v, %+v", c.Now(), s)
		}
		c.Resume()
		c.Resume()
		<-timer.C
		if c.Since(at) != 30*time.Minute {
			t.Errorf("fired after %v more, want the half hour that was left", c.Since(at))
		}
		if s := c.State(); s.Offset != -48*time.Hour || s.Frozen {
			t.Errorf("state %+v, want to run 48 h behind", s)
		}
	})
}

func TestWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		before := c.State()
		for want, err := range map[string]error{
			"-1ns: it never goes back":                c.Advance(-1),
			"it stands at 2000-01-01T00:00:00Z and":   c.AdvanceTo(c.Now().Add(-time.Hour)),
			"no further than 2200-01-01T00:00:00Z":    c.Advance(1<<63 - 1),
			"1753176h0m0.000000001s: it stands at 20": c.Advance(latest.Sub(c.Now()) + 1),
			"goes no further":                         c.AdvanceTo(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
		if c.State() != before {
			t.Errorf("state %+v after refusals, want %+v", c.State(), before)
		}
		advance(t, c, latest.Sub(c.Now()))
		if !c.Now().Equal(latest) {
			t.Errorf("the clock stands at %v", c.Now())
		}
	})
}

func TestNilClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Clock
		if s := c.State(); s != (State{Now: time.Now()}) || !c.Now().Equal(s.Now) {
			t.Errorf("state %+v of the machine's clock", s)
		}
	})
}

// Readings never go back, whatever is done to the clock meanwhile, and no timer
// is lost.
func TestManyAtOnce(t *testing.T) {
	c := New()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for last := c.Now(); ; {
				now := c.Now()
				if now.Before(last) {
					t.Errorf("went back by %v", last.Sub(now))
				}
				last = now
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var waits sync.WaitGroup
	for i := range 200 {
		waits.Go(func() {
			timer := c.NewTimer(time.Duration(i) * time.Minute)
			if i%3 == 0 {
				timer.ResetAt(c.Now().Add(time.Hour))
			}
			<-timer.C
		})
		waits.Go(func() {
			switch i % 4 {
			case 0:
				c.Freeze()
			case 1:
				c.Resume()
			default:
				if err := c.Advance(time.Second); err != nil {
					t.Error(err)
				}
			}
			c.State()
		})
	}
	fired := make(chan struct{})
	go func() { waits.Wait(); close(fired) }()
	for done := false; !done; {
		advance(t, c, time.Hour)
		select {
		case <-fired:
			done = true
		default:
		}
	}
	close(stop)
	readers.Wait()
}

func TestFunctionsStartInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		c.Freeze()
		var order []int
		for _, i := range []int{3, 1, 2} {
			c.AfterFunc(time.Duration(i)*time.Hour, func() { order = append(order, i) })
		}
		for range 3 {
			advance(t, c, time.Hour)
			synctest.Wait()
		}
		if !slices.Equal(order, []int{1, 2, 3}) {
			t.Errorf("called in the order %v", order)
		}
	})
}

func BenchmarkNow(b *testing.B) {
	c := New()
	for b.Loop() {
		c.Now()
	}
}
