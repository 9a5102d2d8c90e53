package messages

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/cloudtasks"
	emulated "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

const account = "tasks@project.iam.gserviceaccount.com"

// cloud is the services and the workers' clients of them: the embedded suite, in
// which other servers may stand in for its Datastore and its memcached.
type cloud struct {
	*emulatortest.Env
	clock
	backend
	t testing.TB

	entities *datastore.Client
	locks    locks
	disorder disorder                     // of servers that are not ours
	queues   []string                     // that there are
	refuse   func(*pb.CommitRequest) bool // nil: commits of entities go through
}

// newCloud starts the services in the given mode of concurrency, of those that
// the Datastore has (see modes). In ours, queries need the indexes of the file
// that is deployed.
func newCloud(t testing.TB, concurrency string) *cloud {
	t.Helper()
	c := &cloud{t: t, backend: chosenBackend(t)}
	c.clock = c.backend.clock()
	c.Env = emulatortest.Start(t, &emulatortest.Options{
		Project: newProject(), Patience: c.late(2 * time.Second),
		Suite: &emulator.Options{
			Datastore: &emulated.Options{Concurrency: concurrency, Indexes: "../../index.yaml", IndexMode: "require"},
		},
	})
	c.entities = c.newDatastore(c.intercept)
	c.locks = c.newLocks()
	return c
}

// newDatastore returns a client of the chosen Datastore.
func (c *cloud) newDatastore(intercept grpc.UnaryClientInterceptor) *datastore.Client {
	c.t.Helper()
	if c.backend.datastore == embedded {
		return c.NewDatastoreClient(grpc.WithUnaryInterceptor(intercept))
	}
	return c.dial(c.t, c.Project, intercept, c.disorder.intercept)
}

// outbox counts the tasks that were promised and not submitted yet.
func (w *worker) outbox() int {
	q := datastore.NewQuery(tasks.OutboxKind).Namespace(w.app.namespace).KeysOnly()
	keys, err := w.entities.GetAll(context.Background(), q, nil)
	if err != nil {
		w.t.Error(err)
	}
	return len(keys)
}

// swept has the outbox looked after, as cron does. In fake time nothing is ever
// late, and no test needs it that doesn't call it.
func (w *worker) swept() {
	if w.fake {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for tick := time.NewTicker(5 * time.Second); ; {
			select {
			case <-tick.C:
				_, _ = w.server.Sweep(ctx) // what one leaves, the next one finds
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		sweeper.Wait()
	})
}

// Advance lets time pass: the clock's, whatever the suite's own does.
func (c *cloud) Advance(d time.Duration) { c.clock.Advance(d) }

// Drain waits until no task is left: on the real clock, none that is due within a
// minute. Time-outs are due later.
func (c *cloud) Drain(ctx context.Context) error {
	if c.fake {
		return c.Env.Drain(ctx)
	}
	var left []cloudtasks.QueueStats
	drained := c.wait(func() bool {
		soon := time.Now().Add(time.Minute)
		left = slices.DeleteFunc(c.Suite.Stats().CloudTasks.Queues, func(q cloudtasks.QueueStats) bool {
			return q.Running == 0 && (q.Tasks == 0 || q.OldestETA.After(soon))
		})
		return len(left) == 0
	})
	if !drained {
		return &emulatortest.NotDrainedError{Queues: left}
	}
	return nil
}

// chaos makes the servers go wrong, or their clients where they aren't ours.
func (c *cloud) chaos(s emulator.ChaosSettings) {
	c.t.Helper()
	var theirs emulator.ChaosSettings
	theirs.Seed = s.Seed
	if c.backend.datastore != embedded {
		theirs.Abort, theirs.DatastoreOutage = s.Abort, s.DatastoreOutage
		s.Abort, s.DatastoreOutage = 0, 0
	}
	if c.backend.locks == realMemcached {
		theirs.Evict, theirs.MemcachedOutage = s.Evict, s.MemcachedOutage
		s.Evict, s.MemcachedOutage = 0, 0
	}
	c.disorder.set(theirs)
	c.SetChaos(s)
}

// injected counts what went wrong, of all that can.
func (c *cloud) injected() map[string]uint64 {
	all := c.disorder.counts(c.Suite.Chaos().Injected())
	if c.backend.locks == inDatastore { // nothing asks memcached
		delete(all, "evict")
		delete(all, "memcachedOutage")
	}
	return all
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
	store     memlock.Store                   // nil = the cloud's
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
		SubmitWait: c.span(5*time.Second, 10*time.Second),
		EagerBegin: c.backend.datastore == firestore,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.shorten(&o.app)
	o.app.Client, o.app.Cache, o.app.Logger = w.client, c.locks.cache(), o.logger
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
		o.store = c.locks.store()
	}
	lockOptions := c.locks.options()
	lockOptions.Timeout = c.span(2*time.Second, 10*time.Second) // who waits longer goes on without the lock
	lockOptions.Observer.Acquired = func(context.Context, memlock.Event) { w.locked.Add(1) }
	locker := memlock.New(o.store, &lockOptions)
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
	w.swept()
	t.Cleanup(func() {
		if err := c.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if !w.wait(func() bool { return w.outbox() == 0 }) {
			t.Errorf("%d entities are left in the outbox of namespace %q", w.outbox(), o.namespace)
		}
	})
	return w
}

// until lets time pass until the condition holds, within reason.
func (w *worker) until(what string, holds func() bool) {
	w.t.Helper()
	if !w.wait(holds) {
		w.t.Fatalf("after a long time still not: %s; stats: %+v", what, w.app.Stats())
	}
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

// drained waits until no task is left: what the workers count is complete then.
func (w *worker) drained() {
	w.t.Helper()
	if err := w.Drain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// balanced waits until no task is left and holds the message's books to it.
func (w *worker) balanced(message string) Books {
	w.t.Helper()
	w.drained()
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
