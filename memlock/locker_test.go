package memlock_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

// bubble runs f in fake time, and lets what it left in the background end.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(10 * time.Second) // after t.Fatal, too
		f(t)
	})
}

func item(key, value string) *memcache.Item {
	return &memcache.Item{Key: key, Value: []byte(value), Expiration: 60}
}

func nop(context.Context) error { return nil }

// unexpected is an f that must not be called.
func unexpected(t *testing.T) func(context.Context) error {
	return func(context.Context) error {
		t.Helper()
		t.Error("f was called")
		return nil
	}
}

// hooked is a Store in memory whose operations a test can replace.
type hooked struct {
	*memlocktest.Store
	acquire func(ctx context.Context, key, owner string, ttl time.Duration) (string, error)
	extend  func(ctx context.Context, key, owner string, ttl time.Duration) (bool, error)
	release func(ctx context.Context, key, owner string) error
	calls   atomic.Int64
}

func newHooked() *hooked { return &hooked{Store: memlocktest.NewStore()} }

func (s *hooked) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	s.calls.Add(1)
	if s.acquire != nil {
		return s.acquire(ctx, key, owner, ttl)
	}
	return s.Store.Acquire(ctx, key, owner, ttl)
}

func (s *hooked) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	s.calls.Add(1)
	if s.extend != nil {
		return s.extend(ctx, key, owner, ttl)
	}
	return s.Store.Extend(ctx, key, owner, ttl)
}

func (s *hooked) Release(ctx context.Context, key, owner string) error {
	s.calls.Add(1)
	if s.release != nil {
		return s.release(ctx, key, owner)
	}
	return s.Store.Release(ctx, key, owner)
}

// The contract: f's error comes back as it is, and the lock is free again.
func TestReturnsWhatFReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlocktest.NewStore()
		l := memlock.New(s, nil)
		for _, want := range []error{nil, errors.New("f's own"), memlock.ErrFailedToLock, context.Canceled} {
			called := 0
			got := l.TryWithLock(t.Context(), "k", "client", func(ctx context.Context) error {
				called++
				if !strings.HasPrefix(s.Owner("memlock:k"), "client") {
					t.Errorf("the stored owner is %q, want the client's", s.Owner("memlock:k"))
				}
				check(t, ctx.Err())
				return want
			})
			if got != want || called != 1 {
				t.Errorf("TryWithLock = %v after %d calls of f, want %v", got, called, want)
			}
			if o := s.Owner("memlock:k"); o != "" {
				t.Errorf("the lock is still held by %q", o)
			}
		}
	})
}

func TestContention(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		for range 5 {
			var (
				wg         sync.WaitGroup
				runs, busy int
				mu         sync.Mutex
			)
			for i := range 16 {
				wg.Go(func() {
					err := l.TryWithLock(t.Context(), "shard", fmt.Sprint("delivery", i), func(context.Context) error {
						mu.Lock()
						runs++
						mu.Unlock()
						time.Sleep(time.Minute) // many refreshes long
						return nil
					})
					mu.Lock()
					defer mu.Unlock()
					switch err {
					case nil:
					case memlock.ErrFailedToLock:
						busy++
					default:
						t.Errorf("TryWithLock: %v", err)
					}
				})
			}
			wg.Wait()
			if runs != 1 || busy != 15 {
				t.Fatalf("%d ran and %d were busy, want 1 and 15", runs, busy)
			}
		}
	})
}

func TestReacquisition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		for i := range 20 { // at once, a moment later, and after the empty entry is gone
			check(t, l.TryWithLock(t.Context(), "k", "client", nop))
			time.Sleep(time.Duration(i%4) * 400 * time.Millisecond)
		}
	})
}

// Point 1: two calls with one client ID are two calls.
func TestSameClientID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		check(t, l.TryWithLock(t.Context(), "k", "client", func(ctx context.Context) error {
			if err := l.TryWithLock(ctx, "k", "client", unexpected(t)); err != memlock.ErrFailedToLock {
				t.Errorf("a second call with the same ID: %v, want ErrFailedToLock", err)
			}
			time.Sleep(time.Minute)
			return ctx.Err() // the attempt did not cost the holder its lock
		}))
	})
}

func TestSameClientIDReentrant(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), &memlock.Options{Reentrant: true})
		check(t, l.TryWithLock(t.Context(), "k", "client", func(ctx context.Context) error {
			e.stored("memlock:k", "client") // as the original had it
			if err := l.TryWithLock(ctx, "k", "another", unexpected(t)); err != memlock.ErrFailedToLock {
				t.Errorf("another client: %v, want ErrFailedToLock", err)
			}
			inner := 0
			check(t, l.TryWithLock(ctx, "k", "client", func(context.Context) error { inner++; return nil }))
			if inner != 1 {
				t.Errorf("the inner f ran %d times, want once", inner)
			}
			return nil
		}))
	})
}

// Point 2: the lock is released although the parent is cancelled.
func TestCancelledParentReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		reason := errors.New("the client hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		err := l.TryWithLock(ctx, "k", "a", func(ctx context.Context) error {
			cancel(reason)
			<-ctx.Done()
			if got := context.Cause(ctx); got != reason {
				t.Errorf("cause of f's context: %v, want the parent's", got)
			}
			return ctx.Err()
		})
		if err != context.Canceled {
			t.Errorf("TryWithLock = %v, want f's error", err)
		}
		check(t, l.TryWithLock(t.Context(), "k", "b", nop))
	})
}

// A parent that was cancelled before is told so, without a word to the store.
func TestCancelledParentBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		reason := errors.New("too late")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		err := memlock.New(s, nil).TryWithLock(ctx, "k", "a", unexpected(t))
		if !errors.Is(err, memlock.ErrFailedToLock) || !errors.Is(err, memlock.ErrUnavailable) || !errors.Is(err, reason) {
			t.Errorf("TryWithLock = %v, want ErrFailedToLock, ErrUnavailable and the cause", err)
		}
		if n := s.calls.Load(); n != 0 {
			t.Errorf("%d operations of the store, want none", n)
		}
	})
}

// A parent that is cancelled while the store is asked does not look like "busy".
func TestCancelledParentDuringAcquire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		hold := make(chan any)
		e.script.once("add", 1, act{hold: hold})
		reason := errors.New("the client hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Millisecond, func() { cancel(reason) })
		start := time.Now()
		err := l.TryWithLock(ctx, "k", "a", unexpected(t))
		for _, want := range []error{memlock.ErrFailedToLock, memlock.ErrUnavailable, context.Canceled, reason} {
			if !errors.Is(err, want) {
				t.Errorf("TryWithLock = %v, want %v", err, want)
			}
		}
		if d := time.Since(start); d != 10*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		close(hold)
		synctest.Wait()
		check(t, l.TryWithLock(t.Context(), "k", "b", nop))
	})
}

// An f that ignores its cancelled context keeps the lock for a while, in which
// it may still be at work, and not for ever.
func TestFThatNeverReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		ctx, cancel := context.WithCancel(t.Context())
		forever, returned := make(chan any), make(chan any)
		go func() {
			l.TryWithLock(ctx, "k", "stuck", func(context.Context) error { <-forever; return nil })
			close(returned)
		}()
		time.Sleep(time.Hour) // it is kept while the parent lives
		if err := l.TryWithLock(t.Context(), "k", "b", unexpected(t)); err != memlock.ErrFailedToLock {
			t.Errorf("while f runs: %v, want ErrFailedToLock", err)
		}
		cancel()
		time.Sleep(13 * time.Second)
		if err := l.TryWithLock(t.Context(), "k", "b", unexpected(t)); err != memlock.ErrFailedToLock {
			t.Errorf("just after the cancellation: %v, want ErrFailedToLock", err)
		}
		time.Sleep(5 * time.Second) // TTL + 2 s in all
		check(t, l.TryWithLock(t.Context(), "k", "b", func(context.Context) error {
			close(forever) // f returns after all: it releases nothing of ours
			<-returned
			if err := l.TryWithLock(t.Context(), "k", "c", unexpected(t)); err != memlock.ErrFailedToLock {
				t.Errorf("after the stuck one returned: %v, want ErrFailedToLock", err)
			}
			return nil
		}))
	})
}

func TestPanicInFReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		func() {
			defer func() {
				if r := recover(); r != "f's own" {
					t.Errorf("recovered %v, want f's panic", r)
				}
			}()
			l.TryWithLock(t.Context(), "k", "a", func(context.Context) error { panic("f's own") })
		}()
		check(t, l.TryWithLock(t.Context(), "k", "b", nop))

		done := make(chan any)
		go func() {
			defer close(done)
			l.TryWithLock(t.Context(), "k", "a", func(context.Context) error { runtime.Goexit(); return nil })
		}()
		<-done
		check(t, l.TryWithLock(t.Context(), "k", "b", nop))
	})
}

// Point 6: an outage is not "busy", and "busy" is the bare sentinel.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEmbedded(t)
		l := memlock.New(memlock.NewMemcacheStore(e.client, nil), nil)
		check(t, l.TryWithLock(t.Context(), "k", "a", func(ctx context.Context) error {
			if err := l.TryWithLock(ctx, "k", "b", unexpected(t)); err != memlock.ErrFailedToLock {
				t.Errorf("busy: %v, want exactly ErrFailedToLock", err)
			}
			return nil
		}))

		unavailable := func(what string, within time.Duration) {
			t.Helper()
			start := time.Now()
			err := l.TryWithLock(t.Context(), "k", "b", unexpected(t))
			if err == memlock.ErrFailedToLock || !errors.Is(err, memlock.ErrFailedToLock) || !errors.Is(err, memlock.ErrUnavailable) {
				t.Errorf("%s: %v, want ErrFailedToLock and ErrUnavailable", what, err)
			}
			if d := time.Since(start); d > within {
				t.Errorf("%s: it took %v, want at most %v", what, d, within)
			}
		}
		e.stop()
		unavailable("refused", 0)
		e.start()
		e.script.set(func(string, string) act { return act{hold: make(chan any)} })
		unavailable("hanging", 2*time.Second)
		e.script.set(func(string, string) act { return act{answer: "SERVER_ERROR out of memory\r\n"} })
		unavailable("server error", 0)
		e.script.set(nil)
		time.Sleep(18 * time.Second) // an add that nobody could look after ran out: TTL + 2 s
		check(t, l.TryWithLock(t.Context(), "k", "b", nop))
	})
}

// An answer that comes when the lease it grants is over grants nothing.
func TestAnswerAfterTheLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		s.acquire = func(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
			holder, err := s.Store.Acquire(ctx, key, owner, ttl)
			time.Sleep(900 * time.Millisecond)
			return holder, err
		}
		l := memlock.New(s, &memlock.Options{TTL: time.Second})
		if err := l.TryWithLock(t.Context(), "k", "a", unexpected(t)); !errors.Is(err, memlock.ErrUnavailable) {
			t.Errorf("TryWithLock = %v, want ErrUnavailable", err)
		}
		if o := s.Owner("memlock:k"); o != "" {
			t.Errorf("the lock was left with %q", o)
		}
	})
}

// Point 9: what cannot be locked is refused before the store is asked.
func TestKeyRules(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		l := memlock.New(s, nil)
		for _, key := range []string{"", " ", "a b", "a\tb", "a\r\nset memlock:b 0 0 1\r\nx", "a\x00", "\x7f", strings.Repeat("k", 1000) + "\n"} {
			err := l.TryWithLock(t.Context(), key, "client", unexpected(t))
			if !errors.Is(err, memlock.ErrInvalidKey) || errors.Is(err, memlock.ErrFailedToLock) {
				t.Errorf("key %.20q: %v, want ErrInvalidKey and not ErrFailedToLock", key, err)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("key %.20q: an error of %d bytes", key, len(err.Error()))
			}
		}
		if err := l.TryWithLock(t.Context(), "k", "", unexpected(t)); err != memlock.ErrEmptyClientID {
			t.Errorf("empty client ID: %v, want exactly ErrEmptyClientID", err)
		}
		if err := l.TryWithLock(t.Context(), "k", strings.Repeat("c", 1025), unexpected(t)); !errors.Is(err, memlock.ErrInvalidClientID) {
			t.Errorf("a client ID of 1025 bytes: %v, want ErrInvalidClientID", err)
		}
		if err := l.TryWithLock(t.Context(), "k", "client", nil); err == nil {
			t.Error("f is nil: want an error")
		}
		if n := s.calls.Load(); n != 0 {
			t.Errorf("%d operations of the store, want none", n)
		}
	})
}

func TestLongKeysAreHashed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHooked()
		var stored string
		s.acquire = func(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
			stored = key
			return s.Store.Acquire(ctx, key, owner, ttl)
		}
		for _, c := range []struct {
			prefix, key string
			want        string
		}{
			{"", "k", "memlock:k"},
			{"p.", "k", "p.k"},
			{"", strings.Repeat("k", 242), "memlock:" + strings.Repeat("k", 242)},
			{"", strings.Repeat("k", 243), "memlock:a4249a4b798dbdf328acd377b90f7ff2d728acd4bf7ab55ba501174b887c816d"},
			{"", "日本", "memlock:日本"},
			{strings.Repeat("p", 186), strings.Repeat("k", 65), ""},
		} {
			l := memlock.New(s, &memlock.Options{Prefix: c.prefix})
			check(t, l.TryWithLock(t.Context(), c.key, "client", nop))
			if c.want != "" && stored != c.want {
				t.Errorf("key of %d bytes behind %.10q is stored as %q, want %q", len(c.key), c.prefix, stored, c.want)
			}
			if len(stored) > 250 || !strings.HasPrefix(stored, c.prefix) {
				t.Errorf("key of %d bytes behind %.10q is stored as %q", len(c.key), c.prefix, stored)
			}
		}
		// Long keys that differ late are different locks; the same key is one.
		l := memlock.New(s, nil)
		long := strings.Repeat("k", 300)
		check(t, l.TryWithLock(t.Context(), long+"1", "a", func(ctx context.Context) error {
			check(t, l.TryWithLock(ctx, long+"2", "a", nop))
			if err := l.TryWithLock(ctx, long+"1", "b", unexpected(t)); err != memlock.ErrFailedToLock {
				t.Errorf("the same long key: %v, want ErrFailedToLock", err)
			}
			return nil
		}))
	})
}

func TestBadOptions(t *testing.T) {
	s := newHooked()
	for _, c := range []struct {
		o    memlock.Options
		want string // in the error: the rule and the value
	}{
		{memlock.Options{Prefix: "a b"}, `"a b"`},
		{memlock.Options{Prefix: strings.Repeat("p", 187)}, "187"},
		{memlock.Options{TTL: -time.Second}, "-1s"},
		{memlock.Options{TTL: time.Microsecond}, "1µs"},
		{memlock.Options{TTL: 31 * 24 * time.Hour}, "744h0m0s"},
		{memlock.Options{Refresh: -1}, "-1ns"},
		{memlock.Options{Refresh: 9 * time.Second}, "9s"},
		{memlock.Options{TTL: time.Second, Refresh: time.Second}, "500ms"},
		{memlock.Options{Timeout: -time.Second}, "-1s"},
	} {
		l := memlock.New(s, &c.o)
		err := l.Err()
		if !errors.Is(err, memlock.ErrInvalidOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want ErrInvalidOptions with %s", c.o, err, c.want)
		}
		if got := l.TryWithLock(t.Context(), "k", "client", unexpected(t)); got == nil || errors.Is(got, memlock.ErrFailedToLock) {
			t.Errorf("%+v: TryWithLock = %v, want the same error", c.o, got)
		}
	}
	if err := memlock.New(nil, nil).TryWithLock(t.Context(), "k", "client", unexpected(t)); !errors.Is(err, memlock.ErrInvalidOptions) {
		t.Errorf("no store: %v, want ErrInvalidOptions", err)
	}
	for _, o := range []*memlock.Options{nil, {}, {TTL: 10 * time.Millisecond}, {TTL: 24 * time.Hour}} {
		check(t, memlock.New(s, o).Err())
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("%d operations of the store, want none", n)
	}
}

func TestPackageLevelTryWithLock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlocktest.NewStore()
		ctx := memlock.NewContext(t.Context(), memlock.New(s, nil))
		// The original's signature, as its callers hold it in a variable.
		var try func(context.Context, string, string, func(context.Context) error) error = memlock.TryWithLock
		check(t, try(ctx, "k", "a", func(ctx context.Context) error {
			if err := try(ctx, "k", "b", unexpected(t)); err != memlock.ErrFailedToLock {
				t.Errorf("busy: %v, want ErrFailedToLock", err)
			}
			return nil
		}))
		if err := try(ctx, "k", "", unexpected(t)); err != memlock.ErrEmptyClientID {
			t.Errorf("empty client ID: %v, want ErrEmptyClientID", err)
		}
		for name, ctx := range map[string]context.Context{
			"none": t.Context(),
			"nil":  memlock.NewContext(t.Context(), nil),
		} {
			if err := try(ctx, "k", "a", unexpected(t)); err != memlock.ErrNoLocker || errors.Is(err, memlock.ErrFailedToLock) {
				t.Errorf("%s: %v, want ErrNoLocker", name, err)
			}
		}
	})
}

// Nothing is put into f's context: what a lock adds to it shows in f's logs.
func TestContextOfFCarriesNothingNew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		parent := context.WithValue(t.Context(), key{}, "v")
		l := memlock.New(memlocktest.NewStore(), nil)
		var after context.Context
		check(t, l.TryWithLock(parent, "k", "a", func(ctx context.Context) error {
			after = ctx
			if ctx.Value(key{}) != "v" {
				t.Error("f's context has lost the parent's values")
			}
			if _, ok := ctx.Deadline(); ok {
				t.Error("f's context has a deadline that nobody set")
			}
			return nil
		}))
		if after.Err() != context.Canceled || context.Cause(after) != context.Canceled {
			t.Errorf("after f: %v, cause %v, want canceled", after.Err(), context.Cause(after))
		}
	})
}
