package memlock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/memlock"
)

const ttl = 16 * time.Second

// stored wants value under key; "" stands for an entry that is empty or gone.
func (e *embedded) stored(key, value string) {
	e.t.Helper()
	if got, _ := e.value(key); got != value {
		e.t.Errorf("%s has %q, want %q", key, got, value)
	}
}

// warm makes the store run its operations in place: memcached has answered.
func warm(t *testing.T, s memlock.Store) {
	t.Helper()
	check(t, s.Release(t.Context(), "warm", "nobody"))
}

// modes runs a test with a store that hands its operations to a goroutine, and
// with one that runs them in place.
func modes(t *testing.T, f func(t *testing.T, e *embedded, s *memlock.MemcacheStore)) {
	for _, mode := range []string{"handed over", "in place"} {
		t.Run(mode, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := newEmbedded(t)
				s := memlock.NewMemcacheStore(e.client, nil)
				if mode == "in place" {
					warm(t, s)
					e.script.verbs()
				}
				f(t, e, s)
			})
		})
	}
}

func TestMemcacheCommands(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		ctx := t.Context()
		for _, step := range []struct {
			name  string
			do    func() (any, error)
			want  any
			verbs string
		}{
			{"acquire, fresh", func() (any, error) { return s.Acquire(ctx, "k", "a", ttl) }, "", "add"},
			{"acquire, busy", func() (any, error) { return s.Acquire(ctx, "k", "b", ttl) }, "a", "add gets"},
			{"extend", func() (any, error) { return s.Extend(ctx, "k", "a", ttl) }, true, "gets cas"},
			{"extend another's", func() (any, error) { return s.Extend(ctx, "k", "b", ttl) }, false, "gets"},
			{"release another's", func() (any, error) { return nil, s.Release(ctx, "k", "b") }, nil, "gets"},
			{"release", func() (any, error) { return nil, s.Release(ctx, "k", "a") }, nil, "gets cas"},
			{"acquire, released", func() (any, error) { return s.Acquire(ctx, "k", "b", ttl) }, "", "add gets cas"},
		} {
			got, err := step.do()
			if err != nil || got != step.want {
				t.Errorf("%s = %v, %v, want %v", step.name, got, err, step.want)
			}
			if verbs := e.script.verbs(); verbs != step.verbs {
				t.Errorf("%s sent %q, want %q: never delete, never set", step.name, verbs, step.verbs)
			}
		}
	})
}

func TestReleaseLeavesAnEmptyValueForLessThanASecond(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		acquire(t, s, "k", "a")
		check(t, s.Release(t.Context(), "k", "a"))
		if v, ok := e.value("k"); v != "" || !ok {
			t.Errorf("the entry is %q, %v, want empty", v, ok)
		}
		time.Sleep(time.Second)
		if v, ok := e.value("k"); ok {
			t.Errorf("the entry is still there, with %q", v)
		}
	})
}

func acquire(t *testing.T, s memlock.Store, key, owner string) {
	t.Helper()
	if holder, err := s.Acquire(t.Context(), key, owner, ttl); err != nil || holder != "" {
		t.Fatalf("Acquire of %s by %s = %q, %v", key, owner, holder, err)
	}
}

// A connection that ends in mid-operation, before or after the command took
// effect, is met by one repetition, which must not mistake its own first write
// for another's.
func TestMemcacheConnectionEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(*testing.T, *embedded, memlock.Store)
		do     func(context.Context, memlock.Store) (any, error)
		verb   string
		want   any
		after  string // the value
	}{
		{"acquire, add", nil, acquireBy("a"), "add", "", "a"},
		{"acquire of a released lock, get", released, acquireBy("a"), "gets", "", "a"},
		{"acquire of a released lock, cas", released, acquireBy("a"), "cas", "", "a"},
		{"acquire of a held lock, add", heldBy("b"), acquireBy("a"), "add", "b", "b"},
		{"acquire of a held lock, get", heldBy("b"), acquireBy("a"), "gets", "b", "b"},
		{"extend, get", heldBy("a"), extendBy("a"), "gets", true, "a"},
		{"extend, cas", heldBy("a"), extendBy("a"), "cas", true, "a"},
		{"extend of another's, get", heldBy("b"), extendBy("a"), "gets", false, "b"},
		{"release, get", heldBy("a"), releaseBy("a"), "gets", nil, ""},
		{"release, cas", heldBy("a"), releaseBy("a"), "cas", nil, ""},
	} {
		for how, a := range map[string]act{"before it is sent": {cut: true}, "after it took effect": {lose: true}} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
					if c.before != nil {
						c.before(t, e, s)
					}
					e.script.once(c.verb, 1, a)
					if got, err := c.do(t.Context(), s); err != nil || got != c.want {
						t.Errorf("got %v, %v, want %v", got, err, c.want)
					}
					e.stored("k", c.after)
				})
			})
		}
	}
}

func heldBy(owner string) func(*testing.T, *embedded, memlock.Store) {
	return func(_ *testing.T, e *embedded, _ memlock.Store) { e.set("k", owner) }
}

func released(t *testing.T, e *embedded, _ memlock.Store) { heldBy("")(t, e, nil) }

func acquireBy(owner string) func(context.Context, memlock.Store) (any, error) {
	return func(ctx context.Context, s memlock.Store) (any, error) { return s.Acquire(ctx, "k", owner, ttl) }
}

func extendBy(owner string) func(context.Context, memlock.Store) (any, error) {
	return func(ctx context.Context, s memlock.Store) (any, error) { return s.Extend(ctx, "k", owner, ttl) }
}

func releaseBy(owner string) func(context.Context, memlock.Store) (any, error) {
	return func(ctx context.Context, s memlock.Store) (any, error) { return nil, s.Release(ctx, "k", owner) }
}

// It is repeated once, not for ever.
func TestMemcacheConnectionEndsTwice(t *testing.T) {
	for name, do := range map[string]func(context.Context, memlock.Store) (any, error){
		"acquire": acquireBy("a"), "extend": extendBy("a"), "release": releaseBy("a"),
	} {
		t.Run(name, func(t *testing.T) {
			modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
				e.set("other", "x")
				e.script.set(func(verb, _ string) act { return act{cut: true} })
				got, err := do(t.Context(), s)
				if err == nil {
					t.Errorf("got %v, want an error", got)
				}
				synctest.Wait() // an add that may have landed is looked after in the background
				if n := len(strings.Fields(e.script.verbs())); n > 5 {
					t.Errorf("%d commands were tried, want at most 5", n)
				}
			})
		})
	}
}

// After a restart every pooled connection is dead; the first operation must not
// go through them one by one.
func TestMemcacheServerRestarts(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		var wg sync.WaitGroup
		hold := make(chan any)
		e.script.set(func(string, string) act { return act{hold: hold} })
		for i := range 8 { // at once, so that eight connections come into the pool
			wg.Go(func() { check(t, s.Release(t.Context(), fmt.Sprint("k", i), "nobody")) })
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		e.script.set(nil)

		e.stop()
		e.start()
		acquire(t, s, "k", "a")
		e.stop()
		e.start()
		if held, err := s.Extend(t.Context(), "k", "a", ttl); err != nil || held {
			t.Errorf("Extend after a restart = %v, %v, want false: the entry is gone", held, err)
		}
		e.stop()
		e.start()
		check(t, s.Release(t.Context(), "k", "a"))
	})
}

func TestMemcacheServerDown(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		acquire(t, s, "held", "a")
		e.stop()
		start := time.Now()
		if holder, err := s.Acquire(t.Context(), "k", "a", ttl); err == nil {
			t.Errorf("Acquire = %q, want an error", holder)
		}
		if held, err := s.Extend(t.Context(), "held", "a", ttl); err == nil {
			t.Errorf("Extend = %v, want an error: unknown, not lost", held)
		}
		if err := s.Release(t.Context(), "held", "a"); err == nil {
			t.Error("Release succeeded")
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v to see that connections are refused", d)
		}
		e.start()
		acquire(t, s, "k", "a")
	})
}

// An error line is neither "busy" nor "lost".
func TestMemcacheServerErrors(t *testing.T) {
	const outOfMemory = "SERVER_ERROR out of memory storing object\r\n"
	for verb, do := range map[string]func(context.Context, memlock.Store) (any, error){
		"add": acquireBy("a"), "gets": releaseBy("a"), "cas": extendBy("a"),
	} {
		t.Run(verb, func(t *testing.T) {
			modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
				if verb != "add" {
					e.set("k", "a")
				}
				e.script.once(verb, 1, act{answer: outOfMemory})
				got, err := do(t.Context(), s)
				if err == nil || !strings.Contains(err.Error(), "out of memory") {
					t.Errorf("got %v, %v, want the server's error", got, err)
				}
				e.script.set(nil)
				acquire(t, s, "k", "a") // nothing is broken for the next
			})
		})
	}
}

// What the entry becomes between the two steps of an operation decides it.
func TestMemcacheEntryChangesBetweenGetAndCas(t *testing.T) {
	for _, c := range []struct {
		name    string
		held    string
		do      func(context.Context, memlock.Store) (any, error)
		between func(*embedded)
		want    any
		after   string
	}{
		{"extend, evicted (ErrCacheMiss)", "a", extendBy("a"), evict, false, ""},
		{"extend, stolen (ErrCASConflict)", "a", extendBy("a"), setTo("thief"), false, "thief"},
		{"extend, written again by ourselves", "a", extendBy("a"), setTo("a"), true, "a"},
		{"release, evicted", "a", releaseBy("a"), evict, nil, ""},
		{"release, stolen", "a", releaseBy("a"), setTo("thief"), nil, "thief"},
		{"release, refreshed", "a", releaseBy("a"), setTo("a"), nil, ""},
		{"acquire of a released lock, taken by another", "", acquireBy("a"), setTo("b"), memlock.UnknownHolder, "b"},
		{"acquire of a released lock, gone", "", acquireBy("a"), evict, "", "a"},
		{"acquire of our own, written again", "a", acquireBy("a"), setTo("a"), "", "a"},
		{"acquire of our own, stolen", "a", acquireBy("a"), setTo("b"), "b", "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
				e.set("k", c.held)
				e.script.once("cas", 1, act{before: func() { c.between(e) }})
				if got, err := c.do(t.Context(), s); err != nil || got != c.want {
					t.Errorf("got %v, %v, want %v", got, err, c.want)
				}
				e.stored("k", c.after)
			})
		})
	}
}

func evict(e *embedded) { check(e.t, e.direct.Delete("k")) }

func setTo(value string) func(*embedded) { return func(e *embedded) { e.set("k", value) } }

// gomemcache's documentation promises ErrNotStored where memcached sends
// NOT_FOUND: another server may mean it.
func TestMemcacheCasAnswersNotStored(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		e.set("k", "a")
		e.script.once("cas", 1, act{
			before: func() { evict(e) },
			answer: "NOT_STORED\r\n",
		})
		if held, err := s.Extend(t.Context(), "k", "a", ttl); err != nil || held {
			t.Errorf("Extend = %v, %v, want false", held, err)
		}
	})
}

// The entry is there for the add and gone for the get, over and over.
func TestMemcacheEntryKeepsChanging(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		e.script.set(func(verb, _ string) act {
			if verb == "add" {
				return act{answer: "NOT_STORED\r\n"}
			}
			return act{}
		})
		if holder, err := s.Acquire(t.Context(), "k", "a", ttl); err == nil {
			t.Errorf("Acquire = %q, want an error", holder)
		}
		if n := len(strings.Fields(e.script.verbs())); n > 10 {
			t.Errorf("%d commands, want a bound", n)
		}
	})
}

func TestMemcacheHangs(t *testing.T) {
	t.Run("a context that ends is obeyed at once", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e := newEmbedded(t)
			e.script.set(func(string, string) act { return act{hold: make(chan any)} })
			s := memlock.NewMemcacheStore(e.client, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := s.Acquire(ctx, "k", "a", ttl)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Millisecond {
				t.Errorf("Acquire = %v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("only the operation that meets the beginning of it waits for the Timeout", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e := newEmbedded(t)
			s := memlock.NewMemcacheStore(e.client, nil)
			warm(t, s)
			e.script.set(func(string, string) act { return act{hold: make(chan any)} })
			for i, want := range []time.Duration{memcache.DefaultTimeout, 10 * time.Millisecond, 10 * time.Millisecond} {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				start := time.Now()
				_, err := s.Acquire(ctx, "k", "a", ttl)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != want {
					t.Errorf("Acquire %d = %v after %v, want %v", i, err, time.Since(start), want)
				}
				cancel()
			}
		})
	})
	t.Run("a long Timeout is never waited for", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e := newEmbedded(t)
			e.client.Timeout = time.Hour
			s := memlock.NewMemcacheStore(e.client, nil)
			warm(t, s)
			hold := make(chan any)
			defer close(hold)
			e.script.set(func(string, string) act { return act{hold: hold} })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := s.Acquire(ctx, "k", "a", ttl); err == nil || time.Since(start) != 10*time.Millisecond {
				t.Errorf("Acquire = %v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("an old answer is no reason to wait", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			e := newEmbedded(t)
			s := memlock.NewMemcacheStore(e.client, nil)
			warm(t, s)
			time.Sleep(2 * time.Second)
			e.script.set(func(string, string) act { return act{hold: make(chan any)} })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := s.Acquire(ctx, "k", "a", ttl); err == nil || time.Since(start) != 10*time.Millisecond {
				t.Errorf("Acquire = %v after %v", err, time.Since(start))
			}
		})
	})
}

// The caller left while its add was on the way: the lock must not stay.
func TestMemcacheLateAddIsCleanedUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		s := memlock.NewMemcacheStore(e.client, nil)
		hold := make(chan any)
		e.script.once("add", 1, act{hold: hold})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if holder, err := s.Acquire(ctx, "k", "a", ttl); err == nil {
			t.Fatalf("Acquire = %q, want an error", holder)
		}
		e.stored("k", "a") // it has landed
		close(hold)        // and now its answer comes
		synctest.Wait()
		e.stored("k", "")
		acquire(t, s, "k", "b")
	})
}

// Neither must one whose answer never came, where the client gave up.
func TestMemcacheAddWithoutAnswerIsCleanedUp(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		var hung bool
		e.script.set(func(verb, _ string) act {
			switch {
			case verb == "add":
				hung = true
				return act{hold: make(chan any)}
			case hung && verb == "gets": // nor the answer that would tell
				hung = false
				return act{hold: make(chan any)}
			}
			return act{}
		})
		if holder, err := s.Acquire(t.Context(), "k", "a", ttl); err == nil {
			t.Fatalf("Acquire = %q, want an error", holder)
		}
		synctest.Wait()
		e.stored("k", "")
	})
}

// A lock that was ours before is not freed with the second try to take it.
func TestMemcacheLateReentryIsNotCleanedUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		s := memlock.NewMemcacheStore(e.client, nil)
		e.set("k", "a")
		hold := make(chan any)
		e.script.once("cas", 1, act{hold: hold})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if holder, err := s.Acquire(ctx, "k", "a", ttl); err == nil {
			t.Fatalf("Acquire = %q, want an error", holder)
		}
		close(hold)
		synctest.Wait()
		e.stored("k", "a")
	})
}

// An add that timed out, but landed, is recovered by its owner.
func TestMemcacheTimedOutAddIsRecovered(t *testing.T) {
	modes(t, func(t *testing.T, e *embedded, s *memlock.MemcacheStore) {
		e.script.once("add", 1, act{hold: make(chan any)})
		acquire(t, s, "k", "a")
		e.stored("k", "a")
		check(t, s.Release(t.Context(), "k", "a"))
	})
}

func TestMemcacheOperationsInFlightAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		s := memlock.NewMemcacheStore(e.client, &memlock.MemcacheOptions{MaxInFlight: 2})
		hold := make(chan any)
		e.script.set(func(string, string) act { return act{hold: hold} })
		try := func(key string) error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err := s.Acquire(ctx, key, "a", ttl)
			return err
		}
		for i := range 5 {
			if err := try(fmt.Sprint("k", i)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Acquire %d = %v, want a deadline", i, err)
			}
		}
		if verbs := e.script.verbs(); verbs != "add add" {
			t.Errorf("sent %q, want two commands at most", verbs)
		}
		close(hold)
		synctest.Wait()
		e.script.set(nil)
		if err := try("k"); err != nil {
			t.Errorf("Acquire after the hang: %v", err)
		}
	})
}

func TestMemcacheExpirations(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		s := memlock.NewMemcacheStore(e.client, nil)
		for _, d := range []time.Duration{0, -1, 30 * 24 * time.Hour, 1<<63 - 1, -1 << 63} {
			if _, err := s.Acquire(t.Context(), "k", "a", d); err == nil || !strings.Contains(err.Error(), d.String()) {
				t.Errorf("Acquire for %v: %v, want an error with the value", d, err)
			}
			if _, err := s.Extend(t.Context(), "k", "a", d); err == nil || !strings.Contains(err.Error(), d.String()) {
				t.Errorf("Extend by %v: %v, want an error with the value", d, err)
			}
		}
		if verbs := e.script.verbs(); verbs != "" {
			t.Errorf("sent %q for TTLs that are refused", verbs)
		}
	})
}

func TestMemcacheBadRequestsAreNotSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		s := memlock.NewMemcacheStore(e.client, nil)
		for _, key := range []string{"", "a b", "a\r\nset x 0 0 1\r\n1", "a\x7f", strings.Repeat("k", 251)} {
			if _, err := s.Acquire(t.Context(), key, "a", ttl); !errors.Is(err, memlock.ErrInvalidKey) {
				t.Errorf("Acquire of %.20q: %v, want ErrInvalidKey", key, err)
			}
			if _, err := s.Extend(t.Context(), key, "a", ttl); !errors.Is(err, memlock.ErrInvalidKey) {
				t.Errorf("Extend of %.20q: %v, want ErrInvalidKey", key, err)
			}
			if err := s.Release(t.Context(), key, "a"); !errors.Is(err, memlock.ErrInvalidKey) {
				t.Errorf("Release of %.20q: %v, want ErrInvalidKey", key, err)
			}
		}
		if _, err := s.Acquire(t.Context(), "k", "", ttl); err == nil {
			t.Error("Acquire by the empty owner succeeded")
		}
		if verbs := e.script.verbs(); verbs != "" {
			t.Errorf("sent %q", verbs)
		}
	})
}

func TestMemcacheBadConfiguration(t *testing.T) {
	for name, s := range map[string]*memlock.MemcacheStore{
		"no client":            memlock.NewMemcacheStore(nil, nil),
		"negative MaxInFlight": memlock.NewMemcacheStore(memcache.New(embeddedAddr), &memlock.MemcacheOptions{MaxInFlight: -1}),
	} {
		if _, err := s.Acquire(t.Context(), "k", "a", ttl); !errors.Is(err, memlock.ErrInvalidOptions) {
			t.Errorf("%s: %v, want ErrInvalidOptions", name, err)
		}
	}
	if _, err := memlock.NewMemcacheClient(); !errors.Is(err, memcache.ErrNoServers) {
		t.Errorf("no servers: %v, want ErrNoServers", err)
	}
	if _, err := memlock.NewMemcacheClient("127.0.0.1:no-such-port"); err == nil || !strings.Contains(err.Error(), "no-such-port") {
		t.Errorf("a bad address: %v, want an error with the address", err)
	}
}
