package handlers_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// world is a worker whose deliveries the test makes itself, again and late, as it
// likes: each test is one schedule of events. It has a real
// Datastore client, a lock store that can be robbed, a queue that remembers.
type world struct {
	*testing.T
	ds     *datastore.Client
	queue  *taskstest.Queue
	locks  *memlocktest.Store
	client *tasks.Client
	server *handlers.Server
	rpcs   *rpcs

	headers func(http.Header) // more of them, for push

	mu     sync.Mutex
	events []handlers.Event
}

type anyone struct{}

func (anyone) Verify(r *http.Request) (handlers.Caller, error) {
	if r.Header.Get("Authorization") == "Bearer evil" {
		return handlers.Caller{}, fmt.Errorf("not you")
	}
	return handlers.Caller{}, nil
}

// Delivered implements handlers.Observer.
func (w *world) Delivered(e handlers.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) last() handlers.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events[len(w.events)-1]
}

// serve makes the worker's server.
func (w *world) serve(o *handlers.Options, hs ...tasks.Handler) {
	w.Helper()
	w.server = w.newServer(o, hs...)
}

func (w *world) newServer(o *handlers.Options, hs ...tasks.Handler) *handlers.Server {
	w.Helper()
	if o == nil {
		o = &handlers.Options{}
	}
	o.Observer = w
	o.Logger = slog.New(slog.NewTextHandler(w.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := handlers.New(w.client, memlock.New(w.locks, nil), anyone{}, hs, o)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// push delivers a task and returns the answer.
func (w *world) push(t taskstest.Task, retryCount int) int {
	w.Helper()
	return w.pushTo(w.server, w.Context(), t, retryCount)
}

func (w *world) pushTo(s http.Handler, ctx context.Context, t taskstest.Task, retryCount int) int {
	w.Helper()
	return deliver(s, ctx, t, retryCount, w.headers)
}

// deliver pushes as Cloud Tasks does.
func deliver(s http.Handler, ctx context.Context, t taskstest.Task, retryCount int, more ...func(http.Header)) int {
	req := t.Request.GetTask().GetHttpRequest()
	due := t.Due
	if due.IsZero() {
		due = time.Now()
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, req.GetUrl(), bytes.NewReader(req.GetBody()))
	r.Header.Set("X-CloudTasks-QueueName", t.Queue)
	r.Header.Set("X-CloudTasks-TaskName", t.Name)
	r.Header.Set("X-CloudTasks-TaskRetryCount", fmt.Sprint(retryCount))
	r.Header.Set("X-CloudTasks-TaskETA", fmt.Sprintf("%d.%06d", due.Unix(), due.Nanosecond()/1000))
	r.Header.Set("Authorization", "Bearer secret")
	for _, f := range more {
		if f != nil {
			f(r.Header)
		}
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec.Code
}

// expect pushes and checks the outcome and its answer.
func (w *world) expect(t taskstest.Task, retryCount int, o handlers.Outcome) {
	w.Helper()
	status := w.push(t, retryCount)
	if e := w.last(); e.Outcome != o || status != o.Status() {
		w.Fatalf("outcome %v, answer %d (%v); want %v, %d", e.Outcome, status, e.Err, o, o.Status())
	}
}

// task returns the i-th task of a class.
func (w *world) task(class string, i int) taskstest.Task {
	w.Helper()
	all := w.queue.Tasks(class)
	if i >= len(all) {
		w.Fatalf("the queue has %d tasks of class %q, not %d", len(all), class, i+1)
	}
	return all[i]
}

type counter struct{ N int }

// bump is the work of most tests: it must happen once.
func bump(tx *tasks.Tx, name string) error {
	var c counter
	key := datastore.NameKey("Counter", name, nil)
	if err := tx.Get(key, &c); err != nil && err != datastore.ErrNoSuchEntity {
		return err
	}
	c.N++
	_, err := tx.Put(key, &c)
	return err
}

// counts is what bump has come to.
func (w *world) count(name string) int {
	w.Helper()
	var c counter
	if err := w.ds.Get(w.Context(), datastore.NameKey("Counter", name, nil), &c); err != nil && err != datastore.ErrNoSuchEntity {
		w.Fatal(err)
	}
	return c.N
}

type ledgerRow struct {
	State            string
	Failures, Starts int
}

// row reads the ledger.
func (w *world) row(t taskstest.Task) (r ledgerRow) {
	w.Helper()
	var props datastore.PropertyList
	err := w.ds.Get(w.Context(), w.client.Key(handlers.LedgerKind, t.Envelope.Key()), &props)
	if err == datastore.ErrNoSuchEntity {
		return ledgerRow{State: "absent"}
	}
	if err != nil {
		w.Fatal(err)
	}
	for _, p := range props {
		switch v := p.Value.(type) {
		case string:
			if p.Name == "State" {
				r.State = v
			}
		case int64:
			switch p.Name {
			case "Failures":
				r.Failures = int(v)
			case "Starts":
				r.Starts = int(v)
			}
		}
		if !p.NoIndex {
			w.Errorf("ledger property %s is indexed", p.Name)
		}
	}
	return r
}

func (w *world) wantRow(t taskstest.Task, want ledgerRow) {
	w.Helper()
	if diff := cmp.Diff(want, w.row(t)); diff != "" {
		w.Fatalf("ledger row (-want +got):\n%s", diff)
	}
}

// dead lists the dead letters.
func (w *world) dead() (all []handlers.DeadLetter) {
	w.Helper()
	for d, err := range handlers.NewDeadLetters(w.client).List(w.Context(), "") {
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// outbox lists what waits for the sweeper.
func (w *world) outbox() (all []tasks.OutboxEntry) {
	w.Helper()
	for e, err := range w.client.Outbox(w.Context(), 0) {
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// rpcs is a script for the Datastore client's calls.
type rpcs struct {
	mu    sync.Mutex
	calls map[string]int
	// hook wraps the n-th call (from 1) of a method.
	hook func(method string, n int, call func() error) error
}

func (r *rpcs) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	method = method[strings.LastIndex(method, "/")+1:]
	r.mu.Lock()
	if r.calls == nil {
		r.calls = make(map[string]int)
	}
	r.calls[method]++
	n, hook := r.calls[method], r.hook
	r.mu.Unlock()
	call := func() error { return invoke(ctx, method0(method), req, reply, cc, opts...) }
	if hook == nil {
		return call()
	}
	return hook(method, n, call)
}

func method0(m string) string { return "/google.datastore.v1.Datastore/" + m }

// script sets the hook and counts from 1 again.
func (r *rpcs) script(hook func(method string, n int, call func() error) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.hook = nil, hook
}

func (r *rpcs) count(method string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[method]
}

func (w *world) newClient(namespace string) *tasks.Client {
	w.Helper()
	c, err := tasks.NewClient(w.ds, w.queue, &tasks.ClientOptions{
		Project: "p", Location: "l", URL: "http://worker", Namespace: namespace,
		Logger: slog.New(slog.NewTextHandler(w.Output(), nil)),
	})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// bumper is the usual handler.
func bumper(ctx context.Context, tx *tasks.Tx, name string) error { return bump(tx, name) }

func (w *world) enqueue(c tasks.Class[string], payload string, o *tasks.EnqueueOptions) taskstest.Task {
	w.Helper()
	if _, err := c.Enqueue(w.Context(), w.client, payload, o); err != nil {
		w.Fatal(err)
	}
	all := w.queue.Tasks(c.Spec().Name)
	return all[len(all)-1]
}
