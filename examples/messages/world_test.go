package messages

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/bradfitz/gomemcache/memcache"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator"
	emulated "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

const account = "tasks@project.iam.gserviceaccount.com"

// cloud is all three services in memory, and the clients of the workers.
type cloud struct {
	*emulatortest.Env
	t testing.TB

	entities *datastore.Client
	memcache *memcache.Client
	dialer   *fault.Dialer                // of memcache
	queues   []string                     // that there are
	refuse   func(*pb.CommitRequest) bool // nil: commits of entities go through
}

// newCloud starts the services in the given mode of concurrency. Queries need the
// indexes of the file that is deployed.
func newCloud(t testing.TB, concurrency string) *cloud {
	t.Helper()
	c := &cloud{t: t, Env: emulatortest.Start(t, &emulatortest.Options{Suite: &emulator.Options{
		Datastore: &emulated.Options{Concurrency: concurrency, Indexes: "../../index.yaml", IndexMode: "require"},
	}})}
	c.entities = c.NewDatastoreClient(grpc.WithUnaryInterceptor(c.intercept))
	c.dialer = fault.NewDialer(c.Net.DialContext, nil)
	c.memcache = c.NewMemcacheClient(c.dialer.DialContext)
	return c
}

// intercept answers the commits that the test refuses.
func (c *cloud) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, o ...grpc.CallOption) error {
	if commit, ok := req.(*pb.CommitRequest); ok && c.refuse != nil && c.refuse(commit) {
		return status.Error(codes.Internal, "refused by the test")
	}
	return next(ctx, method, req, reply, cc, o...)
}

// worker is a process that serves the application.
type worker struct {
	*cloud
	app    *App
	client *tasks.Client
	server *handlers.Server

	outcomes handlers.Counters
	locked   atomic.Int64 // times that a lock was taken
}

// workerOptions differ between tests. The zero value is the worker as deployed.
type workerOptions struct {
	namespace string
	app       Options                         // Client and Cache are filled in
	mutations mutationTypes                   // beside the application's own
	store     memlock.Store                   // nil = memcached
	around    func(http.Handler) http.Handler // nil = nothing
	logger    *slog.Logger
}

// newWorker starts a worker at an address of its own.
func (c *cloud) newWorker(addr string, o workerOptions) *worker {
	t := c.t
	t.Helper()
	w := &worker{cloud: c}
	url := "http://" + addr
	var err error
	w.client, err = tasks.NewClient(c.entities, c.Tasks, &tasks.ClientOptions{
		Project: c.Project, Location: c.Location, Namespace: o.namespace, Logger: o.logger,
		URL: url, ServiceAccount: account, Audience: url,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.app.Client, o.app.Cache, o.app.Logger = w.client, c.memcache, o.logger
	if w.app, err = New(&o.app); err != nil {
		t.Fatal(err)
	}
	maps.Copy(w.app.types, o.mutations)
	verifier, err := auth.NewOIDC(&auth.OIDCOptions{
		Audiences: []string{url}, Emails: []string{account},
		JWKSURL:    "http://" + c.Suite.CloudTasksAddr() + "/oauth2/v3/certs",
		Getenv:     func(string) string { return "" },
		HTTPClient: c.HTTP,
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.store == nil {
		o.store = memlock.NewMemcacheStore(c.memcache, nil)
	}
	locker := memlock.New(o.store, &memlock.Options{Observer: memlock.Observer{
		Acquired: func(_ context.Context, e memlock.Event) { w.locked.Add(1) },
	}})
	w.server, err = handlers.New(w.client, locker, verifier, w.app.Handlers(), &handlers.Options{Observer: &w.outcomes, Logger: o.logger})
	if err != nil {
		t.Fatal(err)
	}
	for _, queue := range w.server.Queues() {
		if !slices.Contains(c.queues, queue) {
			c.queues = append(c.queues, queue)
			c.CreateQueue(queue, nil)
		}
	}
	if o.around == nil {
		o.around = func(h http.Handler) http.Handler { return h }
	}
	c.ServeHTTP(addr, o.around(w.server))
	t.Cleanup(func() {
		if err := c.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// until lets fake time pass until the condition holds, for half an hour at most.
func (w *worker) until(what string, holds func() bool) {
	w.t.Helper()
	for range 3600 {
		if holds() {
			return
		}
		w.Advance(500 * time.Millisecond)
	}
	w.t.Fatalf("after half an hour still not: %s", what)
}

// send sends a message from ada to the recipients, all known.
func (w *worker) send(recipients ...string) (message string) {
	w.t.Helper()
	if err := w.app.AddUsers(w.t.Context(), append([]string{"ada"}, recipients...)...); err != nil {
		w.t.Fatal(err)
	}
	message, err := w.app.Send(w.t.Context(), "ada", recipients, "hello")
	if err != nil {
		w.t.Fatal(err)
	}
	return message
}

// balanced waits until no task is left and holds the message's books to it.
func (w *worker) balanced(message string) Books {
	w.t.Helper()
	if err := w.Drain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	books, err := w.app.Books(w.t.Context(), message)
	if err == nil {
		err = books.Balanced()
	}
	if err != nil {
		w.t.Fatalf("%v\nbooks: %+v\nstats: %+v", err, books, w.app.Stats())
	}
	return books
}

// names returns n users' names, none of which shares the shard of avoid.
func (w *worker) names(n int, avoid string) []string {
	var names []string
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprintf("user-%d", i)
		if avoid == "" || w.shardOfUser(name) != w.shardOfUser(avoid) {
			names = append(names, name)
		}
	}
	return names
}

func (w *worker) shardOfUser(name string) int {
	return w.app.shardOf(expandedShard(userKey(w.app.namespace, name)))
}

// probe is a mutation that does as its test says.
type probe struct {
	Name string // what for
	User string // on whom
	Left int    // for chains of them

	run func(context.Context, *Root, *probe) error
}

func (p *probe) Type() string                           { return "Probe" }
func (p *probe) Target(namespace string) *datastore.Key { return userKey(namespace, p.User) }
func (p *probe) Run(ctx context.Context, r *Root) error { return p.run(ctx, r, p) }

// probes makes run what probes do.
func probes(run func(context.Context, *Root, *probe) error) mutationTypes {
	return mutationTypes{"Probe": func() Mutation { return &probe{run: run} }}
}

// emit journals probes, in a transaction of a user who is nobody's target.
func (w *worker) emit(ps ...*probe) {
	w.t.Helper()
	writer := userKey(w.app.namespace, "writer")
	err := w.app.transaction(w.t.Context(), writer, func(r *Root) error {
		for _, p := range ps {
			if err := r.Emit(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// unread returns the counter that some probes raise, 0 when nothing was
// committed.
func (w *worker) unread(name string) int {
	w.t.Helper()
	var u user
	err := w.entities.Get(w.t.Context(), userKey(w.app.namespace, name), &u)
	if err != nil && err != datastore.ErrNoSuchEntity {
		w.t.Fatal(err)
	}
	return u.Unread
}

// raise adds one to the root's counter: not idempotent, so that it counts
// commits.
func raise(r *Root) error {
	var u user
	if err := r.Get(r.Key, &u); err != nil && err != datastore.ErrNoSuchEntity {
		return err
	}
	u.Unread++
	return r.Put(r.Key, &u)
}
