package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottleModel(t *testing.T) {
	const second = Micros(1e6)
	now := 1000 * second
	slow, fails, done := Result{Slow: true}, Result{}, Result{Done: true}
	var h throttle
	step := func(r Result, want bool, factor float64) {
		t.Helper()
		if got := h.observe(r, now); got != want || h.factor() != factor {
			t.Errorf("observe: %v and %v, want %v and %v", got, h.factor(), want, factor)
		}
	}
	step(fails, false, 1)
	step(slow, true, 1.0/2)
	step(slow, false, 1.0/2) // within a second
	now += second
	step(slow, true, 1.0/4)
	step(done, false, 1.0/4)
	now += 2 * second
	if !h.recover(now) || h.factor() != 1.0/2 {
		t.Errorf("after a second in peace: %v", h.factor())
	}
	now += 10 * second
	if !h.recover(now) || h.factor() != 1 || h.next() != never {
		t.Errorf("after ten: %v", h.factor())
	}
	for range 100 {
		now += second
		h.observe(slow, now)
	}
	if h.factor() != 1.0/128 {
		t.Errorf("at the slowest: %v", h.factor())
	}
	now -= 500 * second // a clock set back doesn't stop the recovery
	h.recover(now)
	if now += 8 * second; !h.recover(now) || h.factor() != 1 {
		t.Errorf("after the clock was set back: %v", h.factor())
	}
	h = throttle{}
	for range 13 {
		now += 2 * second
		step(fails, false, 1)
	}
	step(fails, true, 1.0/2) // more than half of the latest
}

func TestThrottledQueue(t *testing.T) {
	for _, on := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &stub{results: map[string][]Result{"asks": {{Responded: true, Status: 503, Slow: true, RetryAfter: 5 * time.Minute}}}}
			e := open(t, s, Options{Throttle: on})
			q := settings
			q.Rate, q.Burst = 10, 1
			must[Queue](t)(e.CreateQueue(location+"a", q, nil))
			start := time.Now()
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "asks"}))
			synctest.Wait()
			rate := must[QueueStats](t)(e.QueueStats(location + "a")).Rate
			for range 12 {
				must[Task](t)(e.CreateTask(location+"a", NewTask{}))
			}
			time.Sleep(time.Second)
			synctest.Wait()
			early := len(s.deliveries())
			time.Sleep(time.Hour)
			s.mu.Lock()
			defer s.mu.Unlock()
			again := s.at[len(s.at)-1].Sub(start)
			if !on && (rate != 10 || early != 11 || again > 2*time.Second) {
				t.Errorf("off: rate %v, %d deliveries in a second, the last after %v", rate, early, again)
			}
			if on && (rate != 5 || early > 7 || again != 5*time.Minute || len(s.at) != 14) {
				t.Errorf("on: rate %v, %d deliveries in a second, the last after %v", rate, early, again)
			}
			if got := s.seen[len(s.at)-1].Previous; on && (got == nil || *got != Result{Responded: true, Status: 503}) {
				t.Errorf("what is kept of the result: %+v", got)
			}
		})
	}
}
