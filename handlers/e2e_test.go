package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator"
	dsemulator "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

// site is the whole path: emulators, unmodified clients, a worker that verifies
// the queue's tokens.
type site struct {
	*emulatortest.Env
	client   *tasks.Client
	server   *handlers.Server
	counters handlers.Counters
}

type siteOptions struct {
	suite     *emulator.Options
	datastore []grpc.DialOption
	tasks     []grpc.DialOption
	handlers  []tasks.Handler
}

func newSite(t *testing.T, o siteOptions, dial func(*emulatortest.Env) *fault.Dialer) *site {
	t.Helper()
	s := &site{Env: emulatortest.Start(t, &emulatortest.Options{Suite: o.suite})}
	var err error
	s.client, err = tasks.NewClient(s.NewDatastoreClient(o.datastore...), s.NewTasksClient(o.tasks...), &tasks.ClientOptions{
		Project: s.Project, Location: s.Location, URL: "http://worker:8080",
		ServiceAccount: "queue@example.com", Audience: "worker",
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewOIDC(&auth.OIDCOptions{
		Audiences: []string{"worker"}, Emails: []string{"queue@example.com"},
		JWKSURL: "http://" + s.Suite.CloudTasksAddr() + "/oauth2/v3/certs", HTTPClient: s.HTTP,
		Getenv: func(string) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	memcache := s.Memcache
	if dial != nil {
		memcache = s.NewMemcacheClient(dial(s.Env).DialContext)
	}
	locker := memlock.New(memlock.NewMemcacheStore(memcache, nil), nil)
	s.server, err = handlers.New(s.client, locker, verifier, o.handlers, &handlers.Options{
		Observer: &s.counters, ImitateTTL: true,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range s.server.Queues() {
		s.CreateQueue(q, nil)
	}
	s.ServeHTTP("worker:8080", s.server)
	return s
}

// The whole path in one bubble: typed enqueue, queue, push with a token, lock,
// ledger, handler, follow-up through the outbox, answer.
func TestWholePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *site
		leaf := tasks.NewClass[string]("leaf", nil)
		root := tasks.NewClass[int]("root", &tasks.ClassOptions[int]{Queue: "roots"})
		s = newSite(t, siteOptions{handlers: []tasks.Handler{
			root.HandleTx(func(ctx context.Context, tx *tasks.Tx, n int) error {
				for i := range n {
					if _, err := leaf.EnqueueTx(tx, fmt.Sprint(i), &tasks.EnqueueOptions{Delay: time.Hour}); err != nil {
						return err
					}
				}
				return nil
			}),
			leaf.HandleTx(bumper),
		}}, nil)
		if _, err := root.Enqueue(t.Context(), s.client, 20, nil); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Hour || took > time.Hour+time.Second {
			t.Errorf("took %v", took)
		}
		for i := range 20 {
			var c counter
			if err := s.Datastore.Get(t.Context(), datastore.NameKey("Counter", fmt.Sprint(i), nil), &c); err != nil || c.N != 1 {
				t.Errorf("leaf %d: %d commits, %v", i, c.N, err)
			}
		}
		if diff := cmp.Diff(map[handlers.Outcome]int64{handlers.OutcomeCommitted: 21}, s.counters.All()); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		// A stranger's push is refused by the same code.
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://worker:8080/_latchwork/tasks/leaf", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("a push without a token: %d", resp.StatusCode)
		}
	})
}

// Retries come from the queue, with the class's backoff, until the runner, not
// the queue, gives up.
func TestQueueRetriesUntilTheRunnerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		class := tasks.NewClass("doomed", &tasks.ClassOptions[string]{MaxAttempts: 5, Backoff: tasks.Backoff{Min: 10 * time.Second, Max: time.Minute, Doublings: 2}})
		var at []time.Duration
		start := time.Now()
		s := newSite(t, siteOptions{handlers: []tasks.Handler{class.HandleTx(func(context.Context, *tasks.Tx, string) error {
			at = append(at, time.Since(start).Truncate(time.Second))
			return errors.New("no luck")
		})}}, nil)
		if _, err := class.Enqueue(t.Context(), s.client, "x", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 130 * time.Second}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if got := s.counters.All(); got[handlers.OutcomeFailed] != 4 || got[handlers.OutcomeDead] != 1 {
			t.Errorf("outcomes %v", got)
		}
	})
}

// effect is one commit of a handler: each gets an id of its own, so that two
// for one order show.
type effect struct{ Order string }

type order struct{ N int }

// chaos fails calls at random, from a seed: before they are sent, after they
// took effect, or by a delay.
type chaos struct {
	mu   sync.Mutex
	rand *rand.Rand
	on   bool
	rate float64
	made int
}

func (c *chaos) roll() (bad bool, kind, code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on || c.rand.Float64() >= c.rate {
		return false, 0, 0
	}
	c.made++
	return true, c.rand.IntN(3), c.rand.IntN(6)
}

func (c *chaos) calm() { c.mu.Lock(); defer c.mu.Unlock(); c.on = false }

var chaosCodes = []codes.Code{codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.InvalidArgument}

func (c *chaos) fault(ctx context.Context, send func() error) error {
	bad, kind, code := c.roll()
	if !bad {
		return send()
	}
	err := status.Error(chaosCodes[code], "chaos")
	switch kind {
	case 0:
		return fault.Fail(err)(ctx, send)
	case 1:
		if status.Code(err) == codes.Aborted { // would be a lie: it means "not committed"
			err = status.Error(codes.Unavailable, "chaos")
		}
		return fault.Lose(err)(ctx, send)
	default:
		return fault.Delay(7*time.Second)(ctx, send)
	}
}

func (c *chaos) interceptor() grpc.DialOption {
	var s fault.Script
	s.On("*", 0, c.fault)
	return grpc.WithUnaryInterceptor(s.Unary())
}

// Chaos with a conservation law: over a Datastore, a queue and a memcached that
// fail at random, before and after the fact, with duplicate deliveries and
// handlers that fail, snooze and hang, the set of what was committed equals the
// set of effects, each once.
func TestChaosConservesWork(t *testing.T) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s/%d", mode, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { conserve(t, mode, seed) })
			})
		}
	}
}

func conserve(t *testing.T, mode string, seed uint64) {
	const orders = 60
	c := &chaos{rand: rand.New(rand.NewPCG(seed, 7)), rate: 0.12}
	class := func(name string) tasks.Class[string] {
		// Enough attempts: InvalidArgument at commit counts, and chaos sends it.
		return tasks.NewClass(name, &tasks.ClassOptions[string]{Timeout: 20 * time.Second, MaxAttempts: 1000, Backoff: tasks.Backoff{Min: time.Second, Max: 20 * time.Second}})
	}
	first, second, third := class("first"), class("second"), class("third")
	put := func(tx *tasks.Tx, kind, name string) error {
		_, err := tx.Put(datastore.IncompleteKey(kind, nil), &effect{name})
		return err
	}
	hs := []tasks.Handler{
		first.HandleTx(func(ctx context.Context, tx *tasks.Tx, name string) error {
			bad, kind, _ := c.roll()
			if err := put(tx, "First", name); err != nil {
				return err
			}
			if _, err := second.EnqueueTx(tx, name, nil); err != nil {
				return err
			}
			switch {
			case bad && kind == 0:
				return errors.New("no luck")
			case bad && kind == 1:
				return tasks.Snooze(30 * time.Second)
			case bad:
				<-ctx.Done()
			}
			return nil
		}),
		second.HandleThen(func(ctx context.Context, name string) (func(*tasks.Tx) error, error) {
			return func(tx *tasks.Tx) error {
				if err := put(tx, "Second", name); err != nil {
					return err
				}
				_, err := third.EnqueueTx(tx, name, &tasks.EnqueueOptions{Name: name})
				return err
			}, nil
		}),
		third.HandleTx(func(ctx context.Context, tx *tasks.Tx, name string) error { return put(tx, "Third", name) }),
	}
	s := newSite(t, siteOptions{
		suite: &emulator.Options{
			Chaos:     emulator.ChaosSettings{Duplicate: 0.2, Seed: seed},
			Datastore: &dsemulator.Options{Concurrency: mode},
		},
		datastore: []grpc.DialOption{c.interceptor()},
		tasks:     []grpc.DialOption{c.interceptor()},
		handlers:  hs,
	}, func(e *emulatortest.Env) *fault.Dialer {
		var script fault.Script
		script.On("*", 0, c.fault)
		return fault.NewDialer(e.Net.DialContext, &script)
	})
	ctx, cancel := context.WithCancel(t.Context())
	swept := make(chan struct{})
	go func() { s.server.RunSweeper(ctx, 0); close(swept) }()
	defer func() { cancel(); <-swept }()

	c.mu.Lock()
	c.on = true
	c.mu.Unlock()
	for i := range orders {
		name := fmt.Sprint(i)
		_ = s.client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
			if _, err := tx.Put(datastore.NameKey("Order", name, nil), &order{i}); err != nil {
				return err
			}
			_, err := first.EnqueueTx(tx, name, nil)
			return err
		}) // whatever it says: what counts is what is there
		time.Sleep(time.Second)
	}
	time.Sleep(5 * time.Minute)
	c.calm()
	// What is left in the outbox becomes due within the hour.
	for range 90 {
		if err := s.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
	}
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}

	committed := make(map[string]int)
	keys, err := s.Datastore.GetAll(ctx, datastore.NewQuery("Order").KeysOnly(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		committed[k.Name] = 1
	}
	for _, kind := range []string{"First", "Second", "Third"} {
		var effects []effect
		if _, err := s.Datastore.GetAll(ctx, datastore.NewQuery(kind), &effects); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int)
		for _, e := range effects {
			got[e.Order]++
		}
		if diff := cmp.Diff(committed, got); diff != "" {
			t.Errorf("%s: committed orders against effects (-want +got):\n%s", kind, diff)
		}
	}
	for d, err := range handlers.NewDeadLetters(s.client).List(ctx, "") {
		t.Errorf("dead letter: %+v, %v", d, err)
	}
	t.Logf("%d orders, %d faults, outcomes %v, %d conflicts", len(committed), c.made, s.counters.All(), s.counters.Conflicts())
	if c.made < 100 || len(committed) < orders/2 {
		t.Errorf("only %d faults and %d orders: not much of a test", c.made, len(committed))
	}
}
