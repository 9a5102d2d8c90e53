package memlocktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/memlock"
)

// A Harness gives one test a Store, and the hands of those whom a Store cannot
// see.
type Harness struct {
	// Store is under test. Its storage may be shared with other tests: each
	// uses keys of its own.
	Store memlock.Store

	// Steal replaces what is stored under key, as no fair client would.
	Steal func(key, owner string) error

	// Evict drops what is stored under key.
	Evict func(key string) error

	// Wait lets time pass for the storage: time.Sleep in a bubble. Nil leaves
	// out what takes time: the tests of expiry.
	Wait func(time.Duration)

	// Resolution is how much longer than its TTL an entry may live: 2 s for
	// memcached, 0 for a Store that keeps exact time.
	Resolution time.Duration
}

// TestStore holds a Store to the contract of memlock.Store. It calls harness at
// the beginning of each of its tests.
func TestStore(t *testing.T, harness func(t *testing.T) Harness) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { run(t, c, harness) })
	}
}

// TestStoreInBubble is TestStore with each test, its harness included, in a
// synctest bubble of its own: Wait may be time.Sleep and takes no time.
func TestStoreInBubble(t *testing.T, harness func(t *testing.T) Harness) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, c, harness) })
		})
	}
}

func run(t *testing.T, c conformance, harness func(t *testing.T) Harness) {
	h := harness(t)
	if c.takesTime && h.Wait == nil {
		t.Skip("takes time: this harness has no Wait")
	}
	c.test(&tester{T: t, Harness: h, run: rand.Uint64()})
}

// long is a TTL that no test outlives by accident.
const long = time.Minute

type conformance struct {
	name      string
	takesTime bool
	test      func(*tester)
}

var cases = []conformance{
	{name: "a free lock is taken and a taken one names its holder", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.acquire(key, "b", "a")
		t.acquire(key, "b", "a") // and the attempt changed nothing
		t.extend(key, "a", true)
	}},
	{name: "the owner takes its own lock again", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.acquire(key, "a", "")
		t.acquire(key, "b", "a")
	}},
	{name: "a released lock is free at once", test: func(t *tester) {
		key := t.key("k")
		for range 3 {
			t.acquire(key, "a", "")
			t.release(key, "a")
			t.acquire(key, "b", "")
			t.release(key, "b")
		}
	}},
	{name: "only the owner releases", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.release(key, "b")
		t.acquire(key, "c", "a")
	}},
	{name: "only the owner extends", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.extend(key, "b", false)
		t.extend(key, "a", true)
		t.acquire(key, "b", "a")
	}},
	{name: "a prefix of the owner is not the owner", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "client~12", "")
		for _, other := range []string{"client", "client~1", "client~123", "CLIENT~12"} {
			t.acquire(key, other, "client~12")
			t.extend(key, other, false)
			t.release(key, other)
		}
		t.extend(key, "client~12", true)
	}},
	{name: "what is not there is neither extended nor released", test: func(t *tester) {
		key := t.key("k")
		t.extend(key, "a", false)
		t.release(key, "a")
		t.acquire(key, "a", "")
		t.release(key, "a")
		t.extend(key, "a", false)
		t.release(key, "a")
		t.acquire(key, "b", "")
	}},
	{name: "a late call of a former owner leaves the lock of the next", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.release(key, "a")
		t.acquire(key, "b", "")
		t.extend(key, "a", false)
		t.release(key, "a")
		t.acquire(key, "c", "b")
	}},
	{name: "a stolen lock is the thief's", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.steal(key, "thief")
		t.extend(key, "a", false)
		t.release(key, "a")
		t.acquire(key, "b", "thief")
	}},
	{name: "an evicted lock is free", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.evict(key)
		t.extend(key, "a", false)
		t.release(key, "a")
		t.acquire(key, "b", "")
	}},
	{name: "keys are locks of their own", test: func(t *tester) {
		for i, key := range t.keys() {
			t.acquire(key, fmt.Sprint("owner", i), "")
		}
		for i, key := range t.keys() {
			t.acquire(key, "other", fmt.Sprint("owner", i))
			t.extend(key, fmt.Sprint("owner", i), true)
			t.release(key, fmt.Sprint("owner", i))
			t.acquire(key, "other", "")
		}
	}},
	{name: "owners are kept byte for byte", test: func(t *tester) {
		for i, owner := range []string{"a b", "\x00\r\nEND\r\n", "VALUE x 0 1\r\n", "日本\xff", strings.Repeat("o", 1024+17)} {
			key := t.key(fmt.Sprint("k", i))
			t.acquire(key, owner, "")
			t.acquire(key, "other", owner)
			t.extend(key, owner, true)
			t.release(key, owner)
			t.acquire(key, "other", "")
		}
	}},
	{name: "a bad request is refused and changes nothing", test: func(t *tester) {
		key := t.key("k")
		for _, ttl := range []time.Duration{0, -1, -time.Hour} {
			if holder, err := t.Store.Acquire(t.Context(), key, "a", ttl); err == nil {
				t.Errorf("Acquire for %v = %q, want an error", ttl, holder)
			}
		}
		if holder, err := t.Store.Acquire(t.Context(), "", "a", long); err == nil {
			t.Errorf("Acquire of the empty key = %q, want an error", holder)
		}
		t.acquire(key, "b", "")
		if held, err := t.Store.Extend(t.Context(), key, "b", 0); err == nil {
			t.Errorf("Extend by 0 = %v, want an error", held)
		}
		t.acquire(key, "c", "b")
	}},
	{name: "a context that has ended stops an operation", test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		reason := errors.New("the caller left")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		if _, err := t.Store.Acquire(ctx, t.key("other"), "a", long); err == nil {
			t.Error("Acquire succeeded")
		}
		if _, err := t.Store.Extend(ctx, key, "a", long); err == nil {
			t.Error("Extend succeeded")
		}
		if err := t.Store.Release(ctx, key, "a"); err == nil {
			t.Error("Release succeeded")
		}
		t.acquire(key, "b", "a")
		t.acquire(t.key("other"), "b", "")
	}},
	{name: "of many at once exactly one wins", test: func(t *tester) {
		key := t.key("k")
		var inside, runs atomic.Int64
		for range 10 {
			var (
				wg      sync.WaitGroup
				winners atomic.Int64
				start   = make(chan struct{})
				tried   sync.WaitGroup
			)
			for i := range 16 {
				owner := fmt.Sprint("owner", i)
				tried.Add(1)
				wg.Go(func() {
					<-start
					holder, err := t.Store.Acquire(t.Context(), key, owner, long)
					if err == nil && holder == "" {
						winners.Add(1)
						if inside.Add(1) != 1 {
							t.Error("two are inside")
						}
						runs.Add(1)
					}
					tried.Done()
					if err != nil {
						t.Errorf("Acquire by %s: %v", owner, err)
						return
					}
					if holder == owner {
						t.Errorf("%s is told that it is busy with itself", owner)
					}
					tried.Wait() // nobody lets go before all have tried
					if holder == "" {
						inside.Add(-1)
						if err := t.Store.Release(t.Context(), key, owner); err != nil {
							t.Errorf("Release by %s: %v", owner, err)
						}
					}
				})
			}
			close(start)
			wg.Wait()
			if n := winners.Load(); n != 1 {
				t.Fatalf("%d winners, want 1", n)
			}
		}
	}},
	{name: "a release wins over refreshes under way", test: func(t *tester) {
		for i := range 20 {
			key := t.key(fmt.Sprint("k", i))
			t.acquire(key, "a", "")
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if _, err := t.Store.Extend(t.Context(), key, "a", long); err != nil {
						t.Errorf("Extend: %v", err)
					}
				})
			}
			t.release(key, "a")
			wg.Wait()
			t.acquire(key, "b", "")
		}
	}},
	{name: "a lock lives for its TTL and then it is free", takesTime: true, test: func(t *tester) {
		for _, ttl := range []time.Duration{time.Millisecond, 400 * time.Millisecond, time.Second, 1500 * time.Millisecond, 16 * time.Second, time.Hour} {
			key := t.key(ttl.String())
			t.Wait(333 * time.Millisecond) // not on a whole second
			t.take(key, "a", ttl, "")
			t.Wait(ttl - time.Nanosecond)
			t.take(key, "b", ttl, "a")
			t.Wait(t.Resolution + time.Nanosecond)
			t.extend(key, "a", false)
			t.take(key, "b", ttl, "")
		}
	}},
	{name: "a refresh counts from its own time", takesTime: true, test: func(t *tester) {
		key := t.key("k")
		t.take(key, "a", 4*time.Second, "")
		for range 5 {
			t.Wait(3 * time.Second)
			if held, err := t.Store.Extend(t.Context(), key, "a", 4*time.Second); err != nil || !held {
				t.Fatalf("Extend = %v, %v, want true", held, err)
			}
		}
		t.Wait(4*time.Second - time.Nanosecond)
		t.acquire(key, "b", "a")
		t.Wait(t.Resolution + time.Nanosecond)
		t.acquire(key, "b", "")
	}},
	{name: "an expired lock is not extended back to life", takesTime: true, test: func(t *tester) {
		key := t.key("k")
		t.take(key, "a", time.Second, "")
		t.Wait(time.Second + t.Resolution)
		t.extend(key, "a", false)
		t.acquire(key, "b", "")
		t.release(key, "a")
		t.acquire(key, "c", "b")
	}},
	{name: "a released lock stays free", takesTime: true, test: func(t *tester) {
		key := t.key("k")
		t.acquire(key, "a", "")
		t.release(key, "a")
		t.Wait(time.Second) // what a release may leave behind runs out
		t.acquire(key, "b", "")
		t.Wait(2 * time.Second)
		t.extend(key, "b", true)
	}},
	{name: "any sequence agrees with a map", test: func(t *tester) {
		rng := rand.New(rand.NewPCG(1, 2))
		owners := []string{"a", "b", "c"}
		keys := []string{t.key("x"), t.key("y")}
		model := map[string]string{}
		for i := range 400 {
			key, owner := keys[rng.IntN(len(keys))], owners[rng.IntN(len(owners))]
			at := fmt.Sprintf("step %d, %s of %s held by %q", i, owner, key, model[key])
			switch rng.IntN(9) {
			case 0, 1, 2:
				want := model[key]
				if want == "" || want == owner {
					want, model[key] = "", owner
				}
				if holder, err := t.Store.Acquire(t.Context(), key, owner, long); err != nil || holder != want {
					t.Fatalf("%s: Acquire = %q, %v, want %q", at, holder, err, want)
				}
			case 3, 4:
				want := model[key] == owner
				if held, err := t.Store.Extend(t.Context(), key, owner, long); err != nil || held != want {
					t.Fatalf("%s: Extend = %v, %v, want %v", at, held, err, want)
				}
			case 5, 6:
				if model[key] == owner {
					delete(model, key)
				}
				if err := t.Store.Release(t.Context(), key, owner); err != nil {
					t.Fatalf("%s: Release: %v", at, err)
				}
			case 7:
				model[key] = owner
				t.steal(key, owner)
			case 8:
				delete(model, key)
				t.evict(key)
			}
		}
	}},
}

// A tester is a test with its harness.
type tester struct {
	*testing.T
	Harness
	run uint64 // tells the keys of this test from those of others
}

func (t *tester) key(name string) string {
	return fmt.Sprintf("memlocktest:%x:%s", t.run, name)
}

// keys are of every length and kind that a Locker may ask for.
func (t *tester) keys() []string {
	keys := []string{t.key("a"), t.key("b"), t.key("A"), t.key("日本"), t.key("~!@#$%^&*()\xff")}
	long := t.key("")
	return append(keys, long+strings.Repeat("k", 250-len(long)), long+strings.Repeat("k", 249-len(long)))
}

func (t *tester) acquire(key, owner, wantHolder string) {
	t.Helper()
	t.take(key, owner, long, wantHolder)
}

func (t *tester) take(key, owner string, ttl time.Duration, wantHolder string) {
	t.Helper()
	holder, err := t.Store.Acquire(t.Context(), key, owner, ttl)
	if err != nil || holder != wantHolder {
		t.Fatalf("Acquire of %.80q by %.40q = %.40q, %v, want %.40q", key, owner, holder, err, wantHolder)
	}
}

func (t *tester) extend(key, owner string, want bool) {
	t.Helper()
	held, err := t.Store.Extend(t.Context(), key, owner, long)
	if err != nil || held != want {
		t.Fatalf("Extend of %.80q by %.40q = %v, %v, want %v", key, owner, held, err, want)
	}
}

func (t *tester) release(key, owner string) {
	t.Helper()
	if err := t.Store.Release(t.Context(), key, owner); err != nil {
		t.Fatalf("Release of %.80q by %.40q: %v", key, owner, err)
	}
}

func (t *tester) steal(key, owner string) {
	t.Helper()
	if err := t.Steal(key, owner); err != nil {
		t.Fatalf("Steal: %v", err)
	}
}

func (t *tester) evict(key string) {
	t.Helper()
	if err := t.Evict(key); err != nil {
		t.Fatalf("Evict: %v", err)
	}
}
