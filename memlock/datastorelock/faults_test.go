package datastorelock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/datastore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/datastorelock"
)

// A place is a Store whose calls a script stands in the way of and a log keeps,
// and a client past both.
type place struct {
	t      *testing.T
	store  *datastorelock.Store
	script fault.Script
	others *datastore.Client
	calls  *calls
}

func newPlace(t *testing.T, e *emulatortest.Env, o *datastorelock.Options) *place {
	p := &place{t: t, others: e.Datastore, calls: new(calls)}
	client := e.NewDatastoreClient(grpc.WithChainUnaryInterceptor(p.calls.log, p.script.Unary()))
	p.store = newStore(t, client, o)
	return p
}

// owner is who has the lock of key, "" for nobody.
func (p *place) owner(key string) string {
	p.t.Helper()
	var properties datastore.PropertyList
	err := p.others.Get(context.Background(), datastore.NameKey(kind, key, nil), &properties)
	if errors.Is(err, datastore.ErrNoSuchEntity) {
		return ""
	}
	check(p.t, err)
	i := slices.IndexFunc(properties, func(p datastore.Property) bool { return p.Name == "Owner" })
	return fmt.Sprint(properties[i].Value)
}

// step is one operation of owner "a" on the lock "k".
type step func(context.Context, memlock.Store) (any, error)

func acquire(ctx context.Context, s memlock.Store) (any, error) { return s.Acquire(ctx, "k", "a", ttl) }
func extend(ctx context.Context, s memlock.Store) (any, error)  { return s.Extend(ctx, "k", "a", ttl) }
func release(ctx context.Context, s memlock.Store) (any, error) {
	return nil, s.Release(ctx, "k", "a")
}

// What doc.go says about cost.
func TestCalls(t *testing.T) {
	modes(t, func(t *testing.T, e *emulatortest.Env) {
		p := newPlace(t, e, nil)
		for _, c := range []struct {
			name  string
			held  string // by whom, before
			left  time.Duration
			do    step
			want  any
			calls string
		}{
			{"acquire, free", "", 0, acquire, "", "Commit"},
			{"acquire, busy", "b", ttl, acquire, "b", "Commit Lookup"},
			{"acquire, run out", "b", -time.Hour, acquire, "", "Commit Lookup Lookup Commit"},
			{"extend", "a", ttl, extend, true, "Lookup Commit"},
			{"extend, another's", "b", ttl, extend, false, "Lookup Rollback"},
			{"extend, gone", "", 0, extend, false, "Lookup Rollback"},
			{"release", "a", ttl, release, nil, "Lookup Commit"},
			{"release, another's", "b", ttl, release, nil, "Lookup Rollback"},
		} {
			check(t, p.others.Delete(t.Context(), datastore.NameKey(kind, "k", nil)))
			if c.held != "" {
				check(t, put(p.others, "k", c.held, c.left))
			}
			p.calls.take()
			if got, err := c.do(t.Context(), p.store); err != nil || got != c.want {
				t.Errorf("%s = %v, %v, want %v", c.name, got, err, c.want)
			}
			if calls := p.calls.take(); calls != c.calls {
				t.Errorf("%s made the calls %q, want %q", c.name, calls, c.calls)
			}
		}
	})
}

// Any one call may fail, before or after it took effect, in any way that passes:
// the answer is that of an undisturbed operation.
func TestOneFailureIsOvercome(t *testing.T) {
	modes(t, func(t *testing.T, e *emulatortest.Env) {
		// A read whose answer is lost has begun a transaction that nobody knows,
		// unless that was begun before.
		p := newPlace(t, e, &datastorelock.Options{EagerBegin: true})
		for _, c := range []struct {
			name  string
			held  string
			left  time.Duration
			do    step
			want  any
			after string
			calls []string
		}{
			{"acquire, free", "", 0, acquire, "", "a", []string{"Commit"}},
			{"acquire, busy", "b", ttl, acquire, "b", "b", []string{"Commit", "Lookup"}},
			{"acquire, run out", "b", -time.Hour, acquire, "", "a", []string{"Commit", "Lookup"}},
			{"extend", "a", ttl, extend, true, "a", []string{"Lookup", "Commit"}},
			{"extend, another's", "b", ttl, extend, false, "b", []string{"Lookup"}},
			{"release", "a", ttl, release, nil, "", []string{"Lookup", "Commit"}},
			{"release, another's", "b", ttl, release, nil, "b", []string{"Lookup"}},
		} {
			for _, call := range c.calls {
				for _, code := range []codes.Code{codes.Aborted, codes.Unavailable, codes.Unknown, codes.Internal} {
					for how, f := range map[string]func(error) fault.Fault{"failed": fault.Fail, "lost": fault.Lose} {
						if code == codes.Aborted && how == "lost" {
							continue // it says that nothing was done
						}
						check(t, p.others.Delete(t.Context(), datastore.NameKey(kind, "k", nil)))
						if c.held != "" {
							check(t, put(p.others, "k", c.held, c.left))
						}
						p.script.On(call, 1, f(status.Error(code, "on purpose")))
						if got, err := c.do(t.Context(), p.store); err != nil || got != c.want {
							t.Errorf("%s, %s %s with %v = %v, %v, want %v", c.name, call, how, code, got, err, c.want)
						}
						if owner := p.owner("k"); owner != c.after {
							t.Errorf("%s, %s %s with %v: the lock is %q's, want %q's", c.name, call, how, code, owner, c.after)
						}
					}
				}
			}
		}
		if unused := p.script.Unused(); len(unused) > 0 {
			t.Errorf("faults that nothing met: %v", unused)
		}
	})
}

// A read whose answer is lost leaves a transaction behind, which in pessimistic
// mode holds the entity until its idle limit: others get no answer in time, and
// none that is wrong.
func TestALostReadIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t, suite(t, "pessimistic"), nil)
		check(t, put(p.others, "k", "a", time.Hour))
		p.script.On("Lookup", 1, fault.Lose(status.Error(codes.Unavailable, "on purpose")))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if held, err := p.store.Extend(ctx, "k", "a", ttl); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Extend = %v, %v, want a deadline", held, err)
		}
		time.Sleep(time.Minute)
		if held, err := p.store.Extend(t.Context(), "k", "a", ttl); err != nil || !held {
			t.Errorf("Extend after the idle limit = %v, %v, want true", held, err)
		}
	})
}

// What doesn't pass is unknown, never "busy" or "lost".
func TestOutages(t *testing.T) {
	modes(t, func(t *testing.T, e *emulatortest.Env) {
		for _, code := range []codes.Code{codes.Aborted, codes.Unavailable, codes.PermissionDenied, codes.ResourceExhausted} {
			p := newPlace(t, e, nil)
			check(t, put(p.others, "k", "a", ttl))
			p.script.On("*", 0, fault.Fail(status.Error(code, "on purpose")))
			for name, do := range map[string]step{"acquire": acquire, "extend": extend, "release": release} {
				got, err := do(t.Context(), p.store)
				if err == nil || !strings.Contains(err.Error(), "datastorelock: ") {
					t.Errorf("%s with %v = %v, %v, want an error", name, code, got, err)
				}
			}
			time.Sleep(time.Minute) // what goes on in the background has given up
			if owner := p.owner("k"); owner != "a" {
				t.Errorf("with %v the lock became %q's", code, owner)
			}
		}
	})
}

// A call that hangs ends with its context, and not later; the lock that it took
// all the same is free soon after.
func TestTheContextEnds(t *testing.T) {
	modes(t, func(t *testing.T, e *emulatortest.Env) {
		for name, stand := range map[string]func(*fault.Gate) fault.Fault{"before": (*fault.Gate).Before, "after": (*fault.Gate).After} {
			for verb, do := range map[string]step{"acquire": acquire, "extend": extend, "release": release} {
				p := newPlace(t, e, nil)
				check(t, p.others.Delete(t.Context(), datastore.NameKey(kind, "k", nil)))
				if verb != "acquire" {
					check(t, put(p.others, "k", "a", ttl))
				}
				gate := fault.NewGate()
				p.script.On("Commit", 1, stand(gate))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				start := time.Now()
				if got, err := do(ctx, p.store); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
					t.Errorf("%s, held %s it took effect = %v, %v after %v", verb, name, got, err, time.Since(start))
				}
				cancel()
				synctest.Wait()
				if owner := p.owner("k"); verb == "acquire" && owner != "" {
					t.Errorf("%s, held %s it took effect, left the lock with %q", verb, name, owner)
				}
				// Nothing is in others' way, in either mode.
				check(t, p.store.Release(t.Context(), "k", "a"))
				if holder, err := p.store.Acquire(t.Context(), "k", "b", ttl); err != nil || holder != "" {
					t.Errorf("after %s: Acquire = %q, %v", verb, holder, err)
				}
			}
		}
	})
}

// An entity that is no lock is not overwritten, and not somebody's.
func TestAStrangeEntity(t *testing.T) {
	modes(t, func(t *testing.T, e *emulatortest.Env) {
		p := newPlace(t, e, nil)
		_, err := p.others.Put(t.Context(), datastore.NameKey(kind, "k", nil), &datastore.PropertyList{{Name: "Owner", Value: int64(7)}})
		check(t, err)
		for name, do := range map[string]step{"acquire": acquire, "extend": extend, "release": release} {
			if got, err := do(t.Context(), p.store); err == nil || !strings.Contains(err.Error(), "/"+kind+",k: the entity is no lock") {
				t.Errorf("%s = %v, %v, want an error that names the entity", name, got, err)
			}
		}
		if owner := p.owner("k"); owner != "7" {
			t.Errorf("the entity has the owner %s now", owner)
		}
	})
}

// Names that Datastore refuses, or that could be another key's hash, are hashed.
func TestKeysAndNamespaces(t *testing.T) {
	modes(t, func(t *testing.T, e *emulatortest.Env) {
		p := newPlace(t, e, nil)
		elsewhere := newStore(t, e.Datastore, &datastorelock.Options{Namespace: "other"})
		other := newStore(t, e.Datastore, &datastorelock.Options{Kind: "Lock"})
		const hash = "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683" // of "key"
		keys := []string{"k", "__k__", "__", "____", "a\xff", "key", hash, "sha256:", strings.Repeat("日", 500), strings.Repeat("日", 501)}
		for i, key := range keys {
			for j, s := range []memlock.Store{p.store, elsewhere, other} {
				owner := fmt.Sprint("owner ", i, j)
				if holder, err := s.Acquire(t.Context(), key, owner, ttl); err != nil || holder != "" {
					t.Errorf("%.20q in %d: Acquire = %q, %v", key, j, holder, err)
				}
			}
		}
		for _, key := range []string{"k", "__", "key", strings.Repeat("日", 500)} {
			if owner := p.owner(key); owner == "" {
				t.Errorf("%.20q is not the name of the entity", key)
			}
		}
	})
}

// In the words of the Locker: busy, lost, and released although the caller left.
func TestLocker(t *testing.T) {
	modes(t, func(t *testing.T, e *emulatortest.Env) {
		p := newPlace(t, e, nil)
		l := memlock.New(p.store, &memlock.Options{TTL: datastorelock.TTL, Refresh: datastorelock.Refresh})
		ctx, cancel := context.WithCancel(t.Context())
		check(t, l.TryWithLock(ctx, "shard", "one", func(ctx context.Context) error {
			time.Sleep(5 * datastorelock.TTL)
			if err := l.TryWithLock(ctx, "shard", "two", func(context.Context) error { return errors.New("both") }); err != memlock.ErrFailedToLock {
				t.Errorf("a second call: %v", err)
			}
			cancel()
			return nil
		}))
		if owner := p.owner("memlock:shard"); owner != "" {
			t.Errorf("the lock is still %q's", owner)
		}
		err := l.TryWithLock(t.Context(), "shard", "one", func(ctx context.Context) error {
			check(t, put(p.others, "memlock:shard", "thief", time.Hour))
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if err != memlock.ErrLost {
			t.Errorf("a stolen lock: %v, want ErrLost", err)
		}
	})
}
