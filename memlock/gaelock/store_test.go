package gaelock_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/appengine/v2"
	"google.golang.org/appengine/v2/memcache"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/gaelock"
	"github.com/latchwork/latchwork/memlock/gaelock/internal/apiserver"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

const ttl = 16 * time.Second

// start runs the stand-in for App Engine's services and points the SDK at it.
func start(t *testing.T) *apiserver.Server {
	t.Helper()
	s := apiserver.New()
	server := httptest.NewServer(s)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	check(t, err)
	t.Setenv("API_HOST", host)
	t.Setenv("API_PORT", port)
	return s
}

func newStore(t *testing.T, o *gaelock.Options) *gaelock.Store {
	t.Helper()
	s, err := gaelock.New(o)
	check(t, err)
	return s
}

func TestConforms(t *testing.T) {
	memlocktest.TestStore(t, func(t *testing.T) memlocktest.Harness {
		s := start(t)
		return memlocktest.Harness{
			Store: newStore(t, nil),
			Steal: func(key, owner string) error {
				return memcache.Set(context.Background(), &memcache.Item{Key: key, Value: []byte(owner), Expiration: time.Minute})
			},
			Evict: func(key string) error {
				if err := memcache.Delete(context.Background(), key); err != memcache.ErrCacheMiss {
					return err
				}
				return nil
			},
			Wait:       s.Advance,
			Resolution: 2 * time.Second, // whole seconds, rounded up, plus one
		}
	})
}

// step is one operation of owner "a" on the lock "k".
type step func(context.Context, memlock.Store) (any, error)

func acquire(ctx context.Context, s memlock.Store) (any, error) { return s.Acquire(ctx, "k", "a", ttl) }
func extend(ctx context.Context, s memlock.Store) (any, error)  { return s.Extend(ctx, "k", "a", ttl) }
func release(ctx context.Context, s memlock.Store) (any, error) {
	return nil, s.Release(ctx, "k", "a")
}

func set(t *testing.T, owner string) {
	t.Helper()
	check(t, memcache.Set(context.Background(), &memcache.Item{Key: "k", Value: []byte(owner), Expiration: time.Minute}))
}

// stored is who has the lock "k"; "" for nobody.
func stored(t *testing.T) string {
	t.Helper()
	item, err := memcache.Get(context.Background(), "k")
	if err == memcache.ErrCacheMiss {
		return ""
	}
	check(t, err)
	return string(item.Value)
}

// What doc.go says about cost.
func TestCalls(t *testing.T) {
	server := start(t)
	s := newStore(t, nil)
	var mu sync.Mutex
	var calls []string
	for _, c := range []struct {
		name string
		held string // by whom, before; "-" for an entry that is empty
		do   step
		want any
		sent string
	}{
		{"acquire, fresh", "", acquire, "", "Set"},
		{"acquire, busy", "b", acquire, "b", "Set Get"},
		{"acquire, released", "-", acquire, "", "Set Get Set"},
		{"extend", "a", extend, true, "Get Set"},
		{"extend, another's", "b", extend, false, "Get"},
		{"release", "a", release, nil, "Get Set"},
		{"release, another's", "b", release, nil, "Get"},
	} {
		server.On(nil)
		_ = memcache.Delete(t.Context(), "k") // may be gone
		if c.held != "" {
			set(t, strings.Trim(c.held, "-"))
		}
		server.On(func(method string, serve func()) bool {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, method)
			serve()
			return true
		})
		if got, err := c.do(t.Context(), s); err != nil || got != c.want {
			t.Errorf("%s = %v, %v, want %v", c.name, got, err, c.want)
		}
		mu.Lock()
		if sent := strings.Join(calls, " "); sent != c.sent {
			t.Errorf("%s made the calls %q, want %q", c.name, sent, c.sent)
		}
		calls = nil
		mu.Unlock()
	}
}

func TestReleaseLeavesAnEmptyEntryForASecond(t *testing.T) {
	server := start(t)
	s := newStore(t, nil)
	set(t, "a")
	check(t, s.Release(t.Context(), "k", "a"))
	if item, err := memcache.Get(t.Context(), "k"); err != nil || len(item.Value) > 0 {
		t.Errorf("the entry is %+v, %v, want an empty one", item, err)
	}
	server.Advance(time.Second)
	if item, err := memcache.Get(t.Context(), "k"); err != memcache.ErrCacheMiss {
		t.Errorf("a second later the entry is %+v, %v, want none", item, err)
	}
}

// An answer that is lost, of a call that took effect or did not.
func TestLostAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		held  string
		do    step
		nth   int
		sent  bool // it took effect
		want  any
		fails bool
		after string
	}{
		{"add, landed", "", acquire, 1, true, "", false, "a"},
		{"add of a held lock", "b", acquire, 1, true, "b", false, "b"},
		{"add, not sent", "", acquire, 1, false, nil, true, ""},
		{"get after add", "b", acquire, 2, true, nil, true, "b"},
		{"get of extend", "a", extend, 1, true, nil, true, "a"},
		{"cas of extend", "a", extend, 2, true, nil, true, "a"},
		{"cas of release", "a", release, 2, true, nil, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := start(t)
			s := newStore(t, nil)
			if c.held != "" {
				set(t, c.held)
			}
			var mu sync.Mutex
			n := 0
			server.On(func(_ string, serve func()) bool {
				mu.Lock()
				defer mu.Unlock()
				if n++; n != c.nth {
					serve()
					return true
				}
				if c.sent {
					serve()
				}
				return false
			})
			got, err := c.do(t.Context(), s)
			if (err != nil) != c.fails || !c.fails && got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
			if owner := stored(t); owner != c.after {
				t.Errorf("the lock is %q's, want %q's", owner, c.after)
			}
		})
	}
}

// A call that hangs ends with its context, and what it took all the same is freed.
func TestTheContextEnds(t *testing.T) {
	server := start(t)
	s := newStore(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	hold, freed := make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	server.On(func(_ string, serve func()) bool {
		serve()
		switch calls.Add(1) {
		case 1: // add
			cancel()
			<-hold
		case 3: // get, cas: the release
			close(freed)
		}
		return true
	})
	const want = "gaelock: memcache has not answered: context canceled"
	if _, err := s.Acquire(ctx, "k", "a", ttl); !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("Acquire: %v, want %s", err, want)
	}
	close(hold)
	<-freed
	if owner := stored(t); owner != "" {
		t.Errorf("the lock stayed with %q", owner)
	}
}

func TestOutage(t *testing.T) {
	start(t).On(func(string, func()) bool { return false })
	s := newStore(t, nil)
	for name, do := range map[string]step{"acquire": acquire, "extend": extend, "release": release} {
		if got, err := do(t.Context(), s); err == nil || !strings.HasPrefix(err.Error(), "gaelock: ") {
			t.Errorf("%s = %v, %v, want an error", name, got, err)
		}
	}
}

func TestBadRequests(t *testing.T) {
	start(t).On(func(method string, _ func()) bool { t.Errorf("%s was called", method); return false })
	s := newStore(t, nil)
	for _, c := range []struct {
		key, owner string
		ttl        time.Duration
		want       string
	}{
		{strings.Repeat("k", 251), "a", ttl, "gaelock: the key has 251 bytes: at most 250 are allowed"},
		{"k", "", ttl, "gaelock: the owner is empty, which stands for a free lock"},
		{"k", "a", 1<<63 - 1, "gaelock: the TTL 2562047h47m16.854775807s is above 8760h0m0s"},
	} {
		if _, err := s.Acquire(t.Context(), c.key, c.owner, c.ttl); err == nil || err.Error() != c.want {
			t.Errorf("Acquire(%.9q, %q, %v): %v, want %s", c.key, c.owner, c.ttl, err, c.want)
		}
	}
	if s, err := gaelock.New(&gaelock.Options{MaxInFlight: -1}); err == nil || s != nil || err.Error() != "gaelock: MaxInFlight -1 is negative" {
		t.Errorf("New with a negative bound: %v, %v", s, err)
	}
}

// The lock is in the namespace of the request's context.
func TestNamespace(t *testing.T) {
	start(t)
	s := newStore(t, nil)
	other, err := appengine.Namespace(t.Context(), "other")
	check(t, err)
	for _, ctx := range []context.Context{t.Context(), other} {
		if got, err := acquire(ctx, s); err != nil || got != "" {
			t.Errorf("Acquire = %v, %v, want a lock of its own", got, err)
		}
		if holder, err := s.Acquire(ctx, "k", "b", ttl); err != nil || holder != "a" {
			t.Errorf("Acquire by another = %q, %v, want a", holder, err)
		}
	}
}

// In the words of the Locker, within a request.
func TestLocker(t *testing.T) {
	start(t)
	l := memlock.New(newStore(t, nil), nil)
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := appengine.NewContext(r)
		check(t, l.TryWithLock(ctx, "shard", "one", func(ctx context.Context) error {
			if err := l.TryWithLock(ctx, "shard", "two", func(context.Context) error { return errors.New("both") }); err != memlock.ErrFailedToLock {
				t.Errorf("a second call: %v", err)
			}
			return nil
		}))
	})
	for range 2 { // the first one released it
		appengine.Middleware(handler).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	}
}

func Example() {
	store, err := gaelock.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	locker := memlock.New(store, nil)
	http.HandleFunc("/task", func(w http.ResponseWriter, r *http.Request) {
		err := locker.TryWithLock(appengine.NewContext(r), "shard-17", r.Header.Get("X-Appengine-Taskname"), func(ctx context.Context) error {
			return nil // the work, until ctx ends
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict) // the queue tries again
		}
	})
	// appengine.Main()
}

func check(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}
