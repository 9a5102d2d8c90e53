package memlock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

// The defaults, as Options promises them.
const (
	refresh = 2 * time.Second
	lease   = 14 * time.Second // the TTL less its margin
)

// untilLost runs f's part of a call that loses its lock, and returns how long
// after the loss it was told.
func untilLost(t *testing.T, ctx context.Context, since time.Time) time.Duration {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(time.Hour):
		t.Fatal("f was never told that its lock is lost")
	}
	if got := context.Cause(ctx); got != memlock.ErrLost { // point 7
		t.Errorf("cause of f's context: %v, want exactly ErrLost", got)
	}
	if ctx.Err() != context.Canceled {
		t.Errorf("f's context: %v, want canceled", ctx.Err())
	}
	return time.Since(since)
}

func TestLockIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			for range 100 {
				time.Sleep(7 * time.Second)
				if err := l.TryWithLock(ctx, "k", "b", unexpected(t)); err != memlock.ErrFailedToLock {
					t.Fatalf("after %v: %v, want ErrFailedToLock", 7*time.Second, err)
				}
			}
			return ctx.Err()
		}))
	})
}

// Points 4, 5 and 7: a lock that is another's, empty or gone is lost at the next
// refresh, and nothing of the next owner is touched.
func TestLossInMidRun(t *testing.T) {
	for _, c := range []struct {
		name  string
		lose  func(*embedded)
		after string
	}{
		{"stolen", func(e *embedded) { e.set("memlock:k", "thief") }, "thief"},
		{"evicted", func(e *embedded) { check(e.t, e.direct.Delete("memlock:k")) }, ""},
		{"emptied", func(e *embedded) { e.set("memlock:k", "") }, ""},
		{"flushed", func(e *embedded) { check(e.t, e.direct.FlushAll()) }, ""},
		{"server restarted", func(e *embedded) { e.stop(); e.start() }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := newEmbedded(t)
				l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
				want := errors.New("stopped early")
				got := l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
					time.Sleep(30 * time.Second)
					c.lose(e)
					if d := untilLost(t, ctx, time.Now()); d > refresh {
						t.Errorf("f was told after %v, want at most %v", d, refresh)
					}
					e.script.verbs()
					return want
				})
				if got != want {
					t.Errorf("TryWithLock = %v, want f's error", got)
				}
				e.stored("memlock:k", c.after)
				if verbs := e.script.verbs(); verbs != "" {
					t.Errorf("sent %q after the loss, want nothing: there is nothing to release", verbs)
				}
			})
		})
	}
}

// Point 3: f is told before the entry can run out, whatever the store does.
func TestLeaseClock(t *testing.T) {
	down := errors.New("down")
	for _, c := range []struct {
		name   string
		extend func(context.Context) (bool, error)
	}{
		{"the store fails", func(context.Context) (bool, error) { return false, down }},
		{"the store hangs until its context ends", func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() }},
		{"the store ignores its context", func(context.Context) (bool, error) { time.Sleep(time.Hour); return true, nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newHooked()
				var good atomic.Pointer[time.Time] // when the last good refresh began
				var down atomic.Bool
				s.extend = func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
					if down.Load() {
						return c.extend(ctx)
					}
					now := time.Now()
					good.Store(&now)
					time.Sleep(100 * time.Millisecond) // a slow answer does not prolong the lease
					return s.Store.Extend(ctx, key, owner, ttl)
				}
				l := memlock.New(s, nil)
				check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
					time.Sleep(time.Minute)
					down.Store(true)
					untilLost(t, ctx, time.Now())
					if d := time.Since(*good.Load()); d != lease {
						t.Errorf("f was told %v after the last good refresh began, want %v", d, lease)
					}
					return nil
				}))
				time.Sleep(2 * time.Hour)
			})
		})
	}
	t.Run("from before the lock was asked for", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newHooked()
			s.acquire = func(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
				time.Sleep(1500 * time.Millisecond)
				return s.Store.Acquire(ctx, key, owner, ttl)
			}
			s.extend = func(context.Context, string, string, time.Duration) (bool, error) { return false, down }
			start := time.Now()
			check(t, memlock.New(s, nil).TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
				if d := untilLost(t, ctx, start); d != lease {
					t.Errorf("f was told %v after the acquisition began, want %v", d, lease)
				}
				return nil
			}))
		})
	})
	t.Run("before the first refresh would be due", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newHooked()
			s.acquire = func(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
				time.Sleep(13 * time.Second)
				return s.Store.Acquire(ctx, key, owner, ttl)
			}
			s.extend = func(context.Context, string, string, time.Duration) (bool, error) { return false, down }
			start := time.Now()
			l := memlock.New(s, &memlock.Options{Refresh: 8 * time.Second, Timeout: 15 * time.Second})
			check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
				if d := untilLost(t, ctx, start); d != lease {
					t.Errorf("f was told %v after the acquisition began, want %v", d, lease)
				}
				return nil
			}))
		})
	})
	t.Run("memcached hangs", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e := newEmbedded(t)
			l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
			check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
				e.script.set(func(string, string) act { return act{hold: make(chan any)} })
				if d := untilLost(t, ctx, time.Now()); d != lease {
					t.Errorf("f was told after %v, want %v", d, lease)
				}
				return nil
			}))
		})
	})
}

// An answer "held" that comes after the end of the lease does not revive it.
func TestLeaseIsNotRevived(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		s.extend = func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
			time.Sleep(lease)
			return s.Store.Extend(context.WithoutCancel(ctx), key, owner, time.Hour)
		}
		var lost int
		l := memlock.New(s, &memlock.Options{Observer: memlock.Observer{Lost: func(context.Context, memlock.Event) { lost++ }}})
		check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			untilLost(t, ctx, time.Now())
			time.Sleep(time.Minute)
			return nil
		}))
		if lost != 1 {
			t.Errorf("lost %d times, want once", lost)
		}
		if o := s.Owner("memlock:k"); o != "" {
			t.Errorf("the lock was not released: %q has it", o)
		}
	})
}

// Point 4: an outage that ends before the lease does costs nothing.
func TestOutageInMidRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			for i, outage := range []act{{cut: true}, {lose: true}, {hold: make(chan any)}, {answer: "SERVER_ERROR busy\r\n"}} {
				e.script.set(func(string, string) act { return outage })
				time.Sleep(10 * time.Second)
				if ctx.Err() != nil {
					t.Fatalf("outage %d: the lock was lost: %v", i, context.Cause(ctx))
				}
				e.script.set(nil)
				time.Sleep(10 * time.Second)
			}
			return ctx.Err()
		}))
	})
}

// 600 refreshes at 99.96 % success cost the original its lock in a fifth of all
// runs: here every 20th fails and none is lost.
func TestUnreliableStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		n := 0
		s.extend = func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
			if n++; n%20 == 0 {
				return false, errors.New("a lost packet")
			}
			return s.Store.Extend(ctx, key, owner, ttl)
		}
		check(t, memlock.New(s, nil).TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			time.Sleep(20 * time.Minute)
			return ctx.Err()
		}))
		if n < 600 {
			t.Errorf("%d refreshes, want at least 600", n)
		}
	})
}

// A step of a clock is nobody's loss but where it drops the entry.
func TestClockStep(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		// The lease reckons with times that have a monotonic reading, which a
		// step of the wall clock does not move. (In a bubble they have none.)
		for name, at := range memlock.LeaseTimes(t.Context(), memlocktest.NewStore()) {
			if !strings.Contains(at.String(), " m=") {
				t.Errorf("%s is %v: no monotonic reading", name, at)
			}
		}
	})
	t.Run("the store's, forward past the TTL", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := memlocktest.NewStore()
			l := memlock.New(s, nil)
			check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
				time.Sleep(5 * time.Second)
				s.StepClock(time.Hour)
				if d := untilLost(t, ctx, time.Now()); d > refresh {
					t.Errorf("f was told after %v, want at most %v", d, refresh)
				}
				return nil
			}))
		})
	})
	t.Run("the store's, forward within the TTL", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := memlocktest.NewStore()
			check(t, memlock.New(s, nil).TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
				for range 10 {
					s.StepClock(10 * time.Second)
					time.Sleep(5 * time.Second)
				}
				return ctx.Err()
			}))
		})
	})
	t.Run("the store's, backward", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := memlocktest.NewStore()
			l := memlock.New(s, nil)
			check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
				s.StepClock(-time.Hour)
				s.SetOutage(errors.New("down")) // the entry stays for an hour, the lease does not
				start := time.Now()
				if d := untilLost(t, ctx, start); d != lease {
					t.Errorf("f was told after %v, want %v", d, lease)
				}
				s.SetOutage(nil)
				return nil
			}))
			check(t, l.TryWithLock(t.Context(), "k", "b", nop)) // released all the same
		})
	})
}

// Point 8: f's return waits for no refresh.
func TestReturnDoesNotWaitForARefresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		refreshing := make(chan any, 1)
		s.extend = func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
			refreshing <- nil
			time.Sleep(time.Minute) // whatever its context says
			return s.Store.Extend(context.WithoutCancel(ctx), key, owner, ttl)
		}
		l := memlock.New(s, &memlock.Options{Observer: memlock.Observer{
			Lost: func(context.Context, memlock.Event) { t.Error("a lock that was released is told lost") },
		}})
		var returned time.Time
		check(t, l.TryWithLock(t.Context(), "k", "a", func(context.Context) error {
			<-refreshing
			returned = time.Now()
			return nil
		}))
		if d := time.Since(returned); d != 0 {
			t.Errorf("TryWithLock returned %v after f", d)
		}
		if o := s.Owner("memlock:k"); o != "" {
			t.Errorf("the lock was not released: %q has it", o)
		}
		time.Sleep(2 * time.Minute) // and the late refresh does not take it again
		if o := s.Owner("memlock:k"); o != "" {
			t.Errorf("a late refresh gave the lock back to %q", o)
		}
	})
}

// A loss is explained by what caused it, not by a trouble that has passed.
func TestLossIsNotExplainedByAnOldError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		n := 0
		s.extend = func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
			switch n++; n {
			case 1:
				return false, errors.New("a passing trouble")
			case 2:
				return s.Store.Extend(ctx, key, owner, ttl)
			}
			time.Sleep(time.Minute)
			return false, nil
		}
		var why error
		l := memlock.New(s, &memlock.Options{Observer: memlock.Observer{
			Lost: func(_ context.Context, e memlock.Event) { why = e.Err },
		}})
		check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			untilLost(t, ctx, time.Now())
			return nil
		}))
		if why == nil || strings.Contains(why.Error(), "passing") {
			t.Errorf("lost because: %v", why)
		}
		time.Sleep(time.Minute)
	})
}

// A lock is not refreshed for an f that was told to stop, even where the store
// does not look at its context.
func TestNoRefreshAfterCancellation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		var extended atomic.Int64
		s.extend = func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
			extended.Add(1)
			return s.Store.Extend(context.WithoutCancel(ctx), key, owner, ttl)
		}
		ctx, cancel := context.WithCancel(t.Context())
		check(t, memlock.New(s, nil).TryWithLock(ctx, "k", "a", func(ctx context.Context) error {
			time.Sleep(time.Minute)
			cancel()
			before := extended.Load()
			time.Sleep(time.Minute)
			if n := extended.Load() - before; before == 0 || n != 0 {
				t.Errorf("%d refreshes before and %d after the cancellation", before, n)
			}
			if o := s.Owner("memlock:k"); o != "" {
				t.Errorf("a minute after the cancellation %q still has the lock", o)
			}
			return nil
		}))
	})
}

// The same over memcached, where the refresh is between its get and its cas.
func TestReleaseBetweenGetAndCasOfARefresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		refreshing, goOn := make(chan any), make(chan any)
		e.script.once("cas", 1, act{before: func() { close(refreshing); <-goOn }})
		var returned time.Time
		check(t, l.TryWithLock(t.Context(), "k", "a", func(context.Context) error {
			<-refreshing
			returned = time.Now()
			return nil
		}))
		if d := time.Since(returned); d != 0 {
			t.Errorf("TryWithLock returned %v after f", d)
		}
		close(goOn)
		synctest.Wait()
		e.stored("memlock:k", "")
	})
}

// The release has a bound of its own.
func TestReleaseIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		s.release = func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() }
		want := errors.New("f's own")
		start := time.Now()
		err := memlock.New(s, &memlock.Options{Timeout: 300 * time.Millisecond}).
			TryWithLock(t.Context(), "k", "a", func(context.Context) error { return want })
		if err != want || time.Since(start) != 300*time.Millisecond {
			t.Errorf("TryWithLock = %v after %v, want f's error after 300ms", err, time.Since(start))
		}
	})
}

// Point 10: refreshes are spread, and about half as frequent as they were.
func TestRefreshesAreSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		var mu sync.Mutex
		at := map[string][]time.Time{}
		s.extend = func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
			mu.Lock()
			at[key] = append(at[key], time.Now())
			mu.Unlock()
			return s.Store.Extend(ctx, key, owner, ttl)
		}
		l := memlock.New(s, nil)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 50 { // all at one instant
			wg.Go(func() {
				check(t, l.TryWithLock(t.Context(), fmt.Sprint("k", i), "a", func(ctx context.Context) error {
					time.Sleep(time.Minute)
					return ctx.Err()
				}))
			})
		}
		wg.Wait()
		firsts := map[time.Time]bool{}
		for key, times := range at {
			firsts[times[0]] = true
			last := start
			for _, x := range times {
				if d := x.Sub(last); d < refresh*3/4 || d > refresh {
					t.Errorf("%s: %v between refreshes, want from %v to %v", key, d, refresh*3/4, refresh)
				}
				last = x
			}
			if n := len(times); n > 40 {
				t.Errorf("%s: %d refreshes in a minute, want at most 40", key, n)
			}
		}
		if len(firsts) < 25 {
			t.Errorf("50 locks refreshed first at %d instants, want them spread", len(firsts))
		}
	})
}

// A short f costs no refresh, and leaves no timer and no goroutine behind.
func TestShortF(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		check(t, memlock.New(s, nil).TryWithLock(t.Context(), "k", "a", func(context.Context) error {
			time.Sleep(time.Second)
			return nil
		}))
		time.Sleep(time.Hour)
		if n := s.calls.Load(); n != 2 {
			t.Errorf("%d operations of the store, want 2: acquire and release", n)
		}
	})
}

// recorder is an Observer that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) observer() memlock.Observer {
	note := func(what string) func(context.Context, memlock.Event) {
		return func(ctx context.Context, e memlock.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			s := fmt.Sprintf("%s %s by %s", what, e.Key, e.ClientID)
			if e.Holder != "" {
				s += " held by " + e.Holder
			}
			if e.HeldFor != 0 {
				s += " for " + e.HeldFor.Round(time.Second).String()
			}
			if e.Err != nil {
				s += ": " + e.Err.Error()
			}
			r.events = append(r.events, s)
		}
	}
	return memlock.Observer{
		Acquired:    note("acquired"),
		Busy:        note("busy"),
		Unavailable: note("unavailable"),
		Lost:        note("lost"),
		Released:    note("released"),
	}
}

// Point 10: hooks for metrics, one event for each thing that happens, and the
// true reason of a loss.
func TestObserver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r recorder
		var logged bytes.Buffer
		s := memlocktest.NewStore()
		l := memlock.New(s, &memlock.Options{
			Observer: r.observer(),
			Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{
				ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					switch a.Key {
					case slog.TimeKey:
						return slog.Attr{}
					case "held_for":
						return slog.Duration(a.Key, a.Value.Duration().Round(time.Second))
					}
					return a
				},
			})),
		})
		down := errors.New("down")

		check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			l.TryWithLock(ctx, "k", "b", unexpected(t))
			time.Sleep(3 * time.Second)
			return nil
		}))
		s.SetOutage(down)
		l.TryWithLock(t.Context(), "k", "c", unexpected(t))
		s.SetOutage(nil)
		l.TryWithLock(t.Context(), "", "refused", unexpected(t)) // no event: a mistake of the caller's
		check(t, l.TryWithLock(t.Context(), "k", "d", func(ctx context.Context) error {
			s.SetOutage(errors.New("a passing trouble")) // not the reason of the loss
			time.Sleep(10 * time.Second)
			s.SetOutage(nil)
			time.Sleep(10 * time.Second)
			s.Evict("memlock:k")
			<-ctx.Done()
			return nil
		}))
		check(t, l.TryWithLock(t.Context(), "k", "e", func(ctx context.Context) error {
			s.SetOutage(down)
			<-ctx.Done()
			time.Sleep(time.Second)
			return nil
		}))

		want := []string{
			"acquired k by a",
			"busy k by b held by a",
			"released k by a for 3s",
			"unavailable k by c: memlock: failed to lock: lock store unavailable: down",
			"acquired k by d",
			"lost k by d for 22s: the entry is gone or has another owner",
			"released k by d for 22s",
			"acquired k by e",
			"lost k by e for 14s: the lease ran out before a refresh reached the store: down",
			"released k by e for 15s: down",
		}
		drawn := regexp.MustCompile("(client=d held_for=|by d for )2[0-2]s") // the refresh that sees the eviction
		got := drawn.ReplaceAllString(strings.Join(r.events, "\n"), "${1}22s")
		if diff := cmp.Diff(want, strings.Split(got, "\n")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		wantLog := `level=WARN msg="memlock: lost the lock" key=k client=d held_for=22s error="the entry is gone or has another owner"
level=WARN msg="memlock: lost the lock" key=k client=e held_for=14s error="the lease ran out before a refresh reached the store: down"
level=WARN msg="memlock: the lock was not released: it runs out by itself" key=k client=e error=down
`
		if diff := cmp.Diff(wantLog, drawn.ReplaceAllString(logged.String(), "${1}22s")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// Lost is told before TryWithLock returns, even if f returns at once.
func TestLostIsToldBeforeTheReturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlocktest.NewStore()
		told := false
		l := memlock.New(s, &memlock.Options{Observer: memlock.Observer{
			Lost: func(context.Context, memlock.Event) { time.Sleep(time.Second); told = true },
		}})
		check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			s.Evict("memlock:k")
			<-ctx.Done()
			return nil
		}))
		if !told {
			t.Error("TryWithLock returned while the observer was being told")
		}
	})
}

// An observer that panics when a lock was acquired does not keep the lock.
func TestPanicInObserverReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlocktest.NewStore()
		l := memlock.New(s, &memlock.Options{Observer: memlock.Observer{
			Acquired: func(context.Context, memlock.Event) { panic("no such metric") },
		}})
		func() {
			defer func() { recover() }()
			l.TryWithLock(t.Context(), "k", "a", unexpected(t))
		}()
		if o := s.Owner("memlock:k"); o != "" {
			t.Errorf("the lock is still held by %q", o)
		}
	})
}
