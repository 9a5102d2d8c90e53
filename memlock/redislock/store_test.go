package redislock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/redislock"
)

const ttl = 16 * time.Second

// A place is a Store whose commands a hook sees, on a server in process.
type place struct {
	server *miniredis.Miniredis
	client *redis.Client
	store  *redislock.Store
	hook   *hook
}

func newPlace(t *testing.T) *place {
	p := &place{server: miniredis.RunT(t), hook: new(hook)}
	p.client = newClient(t, p.server.Addr())
	check(t, p.client.Ping(t.Context()).Err()) // a new connection says more than it is told to
	p.client.AddHook(p.hook)
	p.store = newStore(t, p.client)
	return p
}

// owner is who has the lock of key, "" for nobody.
func (p *place) owner(key string) string {
	v, _ := p.server.Get(key)
	return v
}

// A hook sees each command before the client sends it.
type hook struct {
	mu   sync.Mutex
	sent []string
	// meet decides about the command; send gives its answer.
	meet func(ctx context.Context, name string, send func() error) error
}

func (h *hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		send := func() error { return next(ctx, cmd) }
		h.mu.Lock()
		h.sent = append(h.sent, cmd.Name())
		meet := h.meet
		h.mu.Unlock()
		if meet == nil {
			return send()
		}
		err := meet(ctx, cmd.Name(), send)
		cmd.SetErr(err)
		return err
	}
}

func (h *hook) on(meet func(ctx context.Context, name string, send func() error) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meet = meet
}

// take returns what was sent since it was asked last.
func (h *hook) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := strings.Join(h.sent, " ")
	h.sent = nil
	return names
}

// step is one operation of owner "a" on the lock "k".
type step func(context.Context, memlock.Store) (any, error)

func acquire(ctx context.Context, s memlock.Store) (any, error) { return s.Acquire(ctx, "k", "a", ttl) }
func extend(ctx context.Context, s memlock.Store) (any, error)  { return s.Extend(ctx, "k", "a", ttl) }
func release(ctx context.Context, s memlock.Store) (any, error) {
	return nil, s.Release(ctx, "k", "a")
}

// What doc.go says about cost.
func TestCommands(t *testing.T) {
	p := newPlace(t)
	for _, c := range []struct {
		name string
		held string // by whom, before
		do   step
		want any
		sent string
	}{
		{"extend, on a server that knows no script", "a", extend, true, "evalsha eval"},
		{"release, likewise", "a", release, nil, "evalsha eval"},
		{"acquire, free", "", acquire, "", "set"},
		{"acquire, busy", "b", acquire, "b", "set get"},
		{"acquire, one's own", "a", acquire, "", "set get evalsha"},
		{"extend", "a", extend, true, "evalsha"},
		{"extend, another's", "b", extend, false, "evalsha"},
		{"extend, gone", "", extend, false, "evalsha"},
		{"release", "a", release, nil, "evalsha"},
		{"release, another's", "b", release, nil, "evalsha"},
	} {
		p.server.Del("k")
		if c.held != "" {
			check(t, p.server.Set("k", c.held))
		}
		p.hook.take()
		if got, err := c.do(t.Context(), p.store); err != nil || got != c.want {
			t.Errorf("%s = %v, %v, want %v", c.name, got, err, c.want)
		}
		if sent := p.hook.take(); sent != c.sent {
			t.Errorf("%s sent %q, want %q", c.name, sent, c.sent)
		}
	}
}

func TestExpiryIsInMilliseconds(t *testing.T) {
	p := newPlace(t)
	for give, want := range map[time.Duration]time.Duration{
		1: time.Millisecond, time.Millisecond: time.Millisecond, time.Millisecond + 1: 2 * time.Millisecond,
		400 * time.Millisecond: 400 * time.Millisecond, 16 * time.Second: 16 * time.Second, 24 * time.Hour: 24 * time.Hour,
	} {
		for range 2 { // as taken, and as renewed
			if holder, err := p.store.Acquire(t.Context(), "k", "a", give); err != nil || holder != "" {
				t.Fatalf("Acquire for %v = %q, %v", give, holder, err)
			}
			if got := p.server.TTL("k"); got != want {
				t.Errorf("a lock for %v lives for %v, want %v", give, got, want)
			}
		}
		p.server.Del("k")
	}
}

// An answer that is lost, of a command that took effect or did not.
func TestLostAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		held  string
		do    step
		verb  string
		sent  bool // it took effect
		want  any  // nil with fails: an error
		fails bool
		after string
	}{
		{"set, landed", "", acquire, "set", true, "", false, "a"},
		{"set of a held lock", "b", acquire, "set", true, "b", false, "b"},
		{"set, not sent", "", acquire, "set", false, nil, true, ""},
		{"get", "b", acquire, "get", false, nil, true, "b"},
		{"extend", "a", extend, "evalsha", true, nil, true, "a"},
		{"release", "a", release, "evalsha", true, nil, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			check(t, p.server.Set("warm", "a"))
			for _, do := range []func() error{ // so that the scripts are known
				func() error { _, err := p.store.Extend(t.Context(), "warm", "a", ttl); return err },
				func() error { return p.store.Release(t.Context(), "warm", "a") },
			} {
				check(t, do())
			}
			if c.held != "" {
				check(t, p.server.Set("k", c.held))
			}
			met := 0
			p.hook.on(func(_ context.Context, name string, send func() error) error {
				if name != c.verb || met > 0 {
					return send()
				}
				met++
				if c.sent {
					_ = send()
				}
				return io.ErrUnexpectedEOF
			})
			got, err := c.do(t.Context(), p.store)
			if (err != nil) != c.fails || !c.fails && got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
			if owner := p.owner("k"); owner != c.after {
				t.Errorf("the lock is %q's, want %q's", owner, c.after)
			}
			if met != 1 {
				t.Errorf("%d commands were lost, want 1", met)
			}
		})
	}
}

// A call that hangs ends with its context, and what it took all the same is freed.
func TestTheContextEnds(t *testing.T) {
	for _, landed := range []bool{false, true} {
		p := newPlace(t)
		ctx, cancel := context.WithCancel(t.Context())
		hold, freed := make(chan struct{}), make(chan struct{})
		p.hook.on(func(_ context.Context, name string, send func() error) error {
			switch name {
			case "set":
				var err error
				if landed {
					err = send()
				}
				cancel()
				<-hold
				if !landed {
					err = send()
				}
				return err
			case "eval":
				defer close(freed)
			}
			return send()
		})
		const want = "redislock: the server has not answered: context canceled"
		if _, err := p.store.Acquire(ctx, "k", "a", ttl); !errors.Is(err, context.Canceled) || err.Error() != want {
			t.Errorf("Acquire: %v, want %s", err, want)
		}
		close(hold)
		<-freed
		if owner := p.owner("k"); owner != "" {
			t.Errorf("the lock stayed with %q", owner)
		}
	}
}

func TestOutages(t *testing.T) {
	for name, outage := range map[string]func(*place){
		"down":      func(p *place) { p.server.Close() },
		"an error":  func(p *place) { p.server.SetError("LOADING Redis is loading the dataset in memory") },
		"no string": func(p *place) { p.server.Del("k"); p.server.Lpush("k", "x") },
		"no network": func(p *place) {
			p.hook.on(func(context.Context, string, func() error) error { return &net.OpError{Op: "dial", Err: io.EOF} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			check(t, p.server.Set("k", "a"))
			outage(p)
			for name, do := range map[string]step{"acquire": acquire, "extend": extend, "release": release} {
				if got, err := do(t.Context(), p.store); err == nil || !strings.HasPrefix(err.Error(), "redislock: ") {
					t.Errorf("%s = %v, %v, want an error", name, got, err)
				}
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	p := newPlace(t)
	const want = "redislock: the TTL 2562047h47m16.854775807s is above 87600h0m0s"
	if _, err := p.store.Acquire(t.Context(), "k", "a", 1<<63-1); err == nil || err.Error() != want {
		t.Errorf("Acquire: %v, want %s", err, want)
	}
	if sent := p.hook.take(); sent != "" {
		t.Errorf("sent %q", sent)
	}
	if s, err := redislock.New(nil, nil); err == nil || s != nil {
		t.Errorf("New without a client: %v, %v", s, err)
	}
	if s, err := redislock.New(p.client, &redislock.Options{MaxInFlight: -1}); err == nil || s != nil || err.Error() != "redislock: MaxInFlight -1 is negative" {
		t.Errorf("New with a negative bound: %v, %v", s, err)
	}
}

// In the words of the Locker, over a server in process.
func TestLocker(t *testing.T) {
	p := newPlace(t)
	l := memlock.New(p.store, nil)
	ctx, cancel := context.WithCancel(t.Context())
	check(t, l.TryWithLock(ctx, "shard", "one", func(ctx context.Context) error {
		if err := l.TryWithLock(ctx, "shard", "two", func(context.Context) error { return errors.New("both") }); err != memlock.ErrFailedToLock {
			t.Errorf("a second call: %v", err)
		}
		cancel()
		return nil
	}))
	if owner := p.owner("memlock:shard"); owner != "" {
		t.Errorf("the lock is still %q's", owner)
	}
}

func Example() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redislock.New(client, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	locker := memlock.New(store, nil)
	err = locker.TryWithLock(context.Background(), "shard-17", "request-1", func(ctx context.Context) error {
		return nil // the work, until ctx ends
	})
	switch {
	case errors.Is(err, memlock.ErrUnavailable):
		fmt.Println("nobody knows:", err)
	case err == memlock.ErrFailedToLock:
		fmt.Println("someone else is at it")
	}
}
