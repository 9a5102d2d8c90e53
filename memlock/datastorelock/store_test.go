package datastorelock_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/latchwork/latchwork/emulator"
	datastoreemulator "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/oracle"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/memlock/datastorelock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

const (
	kind = "_latchwork_lock"
	skew = time.Second // the default
	ttl  = 30 * time.Second
)

// suite starts the emulators with one concurrency mode.
func suite(t *testing.T, mode string) *emulatortest.Env {
	return emulatortest.Start(t, &emulatortest.Options{Suite: &emulator.Options{Datastore: &datastoreemulator.Options{Concurrency: mode}}})
}

// modes runs f in a bubble for each concurrency mode.
func modes(t *testing.T, f func(t *testing.T, e *emulatortest.Env)) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, suite(t, mode)) }) })
	}
}

func newStore(t *testing.T, c *datastore.Client, o *datastorelock.Options) *datastorelock.Store {
	t.Helper()
	s, err := datastorelock.New(c, o)
	check(t, err)
	return s
}

// harness has the hands of others, who use the same client.
func harness(t *testing.T, c *datastore.Client, o *datastorelock.Options) memlocktest.Harness {
	return memlocktest.Harness{
		Store:      newStore(t, c, o),
		Steal:      func(key, owner string) error { return put(c, key, owner, time.Minute) },
		Evict:      func(key string) error { return c.Delete(context.Background(), datastore.NameKey(kind, key, nil)) },
		Resolution: skew,
	}
}

// put writes an entity as a lock has it; the names are promised.
func put(c *datastore.Client, key, owner string, ttl time.Duration) error {
	_, err := c.Put(context.Background(), datastore.NameKey(kind, key, nil), &datastore.PropertyList{
		{Name: "Owner", Value: owner, NoIndex: true},
		{Name: "ExpireAt", Value: time.Now().Add(ttl), NoIndex: true},
	})
	return err
}

func TestConforms(t *testing.T) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			memlocktest.TestStoreInBubble(t, func(t *testing.T) memlocktest.Harness {
				h := harness(t, suite(t, mode).Datastore, nil)
				h.Wait = time.Sleep
				return h
			})
		})
	}
}

func TestConformsOnGooglesEmulators(t *testing.T) {
	if os.Getenv("LATCHWORK_OFFICIAL") == "" {
		t.Skip("NOT TESTED ON GOOGLE'S EMULATORS: it takes minutes: `make test-locks` does")
	}
	for _, kind := range []oracle.Kind{oracle.FS, oracle.DS} {
		t.Run(string(kind), func(t *testing.T) {
			p, err := oracle.Start(t.Context(), kind)
			if _, missing := errors.AsType[*oracle.MissingError](err); missing {
				t.Skipf("NOT TESTED ON GOOGLE'S EMULATORS: %v", err)
			}
			check(t, err)
			t.Cleanup(p.Close)
			c, err := datastore.NewClient(t.Context(), "test-project",
				option.WithEndpoint("passthrough:///"+p.Addr), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
				option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
			check(t, err)
			t.Cleanup(func() { check(t, c.Close()) })
			memlocktest.TestStore(t, func(t *testing.T) memlocktest.Harness { return harness(t, c, &datastorelock.Options{EagerBegin: true}) })
		})
	}
}

func TestBadConfiguration(t *testing.T) {
	client := new(datastore.Client)
	for want, make := range map[string]func() (*datastorelock.Store, error){
		"client is nil": func() (*datastorelock.Store, error) { return datastorelock.New(nil, nil) },
		"Skew -1s": func() (*datastorelock.Store, error) {
			return datastorelock.New(client, &datastorelock.Options{Skew: -time.Second})
		},
		"Skew 2h0m0s": func() (*datastorelock.Store, error) {
			return datastorelock.New(client, &datastorelock.Options{Skew: 2 * time.Hour})
		},
		"datastorelock: MaxInFlight -1 is negative": func() (*datastorelock.Store, error) {
			return datastorelock.New(client, &datastorelock.Options{MaxInFlight: -1})
		},
		"between 1ms and 1h0m0s": func() (*datastorelock.Store, error) {
			return datastorelock.New(client, &datastorelock.Options{Skew: 1})
		},
	} {
		if s, err := make(); err == nil || s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v, want an error with %q", s, err, want)
		}
	}
}

func TestAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const want = "datastorelock: Datastore was not asked: context canceled"
	if err := newStore(t, new(datastore.Client), nil).Release(ctx, "k", "a"); !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("Release: %v, want %s", err, want)
	}
}

func check(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}
