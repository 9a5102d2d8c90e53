package emulatortest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	scheduler "cloud.google.com/go/scheduler/apiv1"
	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator"
	cloudtasksemulator "github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/internal/pipenet"
)

// Options tunes an Env; nil and the zero value mean the defaults stated.
type Options struct {
	// Suite has the emulators' options. Listen, and the Cloud Tasks transport
	// where there is none, are set to the in-memory network; so are addresses
	// that are empty, to the usual ports of 127.0.0.1. The logger writes
	// warnings to the test's output unless it is set.
	Suite *emulator.Options

	Project  string // "test-project"
	Location string // "us-central1"

	// OutboxKind is the kind of which no entity may be left: "_latchwork_outbox".
	OutboxKind string

	AllowStuckTasks bool // don't look for stuck tasks at the end
	AllowOutbox     bool // don't look for outbox entities at the end

	// Patience is how long the checks at the end, and Advance outside of a bubble,
	// wait for tasks that are due or running: 2 s. In a bubble it costs nothing.
	Patience time.Duration
}

// An Env is a running suite with clients for it.
type Env struct {
	Net       *pipenet.Network
	Suite     *emulator.Suite
	Tasks     *cloudtasks.Client
	Scheduler *scheduler.CloudSchedulerClient
	Datastore *datastore.Client
	Memcache  *memcache.Client
	HTTP      *http.Client // over the network, for what the emulators and workers serve

	Project, Location string

	t       testing.TB
	options Options

	mu     sync.Mutex
	closes []func() // in the order of opening
}

// Start starts the emulators, and closes them when the test ends, after the
// checks. It ends the test when they don't start.
func Start(t testing.TB, o *Options) *Env {
	t.Helper()
	e := &Env{Net: pipenet.New(), t: t}
	if o != nil {
		e.options = *o
	}
	e.Project = cmp.Or(e.options.Project, "test-project")
	e.Location = cmp.Or(e.options.Location, "us-central1")
	e.options.OutboxKind = cmp.Or(e.options.OutboxKind, "_latchwork_outbox")
	e.options.Patience = cmp.Or(e.options.Patience, 2*time.Second)

	suite, err := emulator.Start(t.Context(), e.suiteOptions())
	if err != nil {
		t.Fatalf("emulatortest: %v", err)
	}
	e.Suite = suite
	t.Cleanup(e.finish)
	e.onClose(func() {
		if err := suite.Close(); err != nil {
			t.Errorf("emulatortest: %v", err)
		}
	})
	transport := &http.Transport{DialContext: e.Net.DialContext}
	e.onClose(transport.CloseIdleConnections)
	e.HTTP = &http.Client{Transport: transport}
	e.Tasks = e.NewTasksClient()
	e.Scheduler = e.NewSchedulerClient()
	e.Datastore = e.NewDatastoreClient()
	e.Memcache = e.NewMemcacheClient(nil)
	return e
}

func (e *Env) suiteOptions() *emulator.Options {
	var o emulator.Options
	if e.options.Suite != nil {
		o = *e.options.Suite
	}
	o.Listen = func(_, addr string) (net.Listener, error) { return e.Net.Listen(addr) }
	o.CloudTasksAddr = cmp.Or(o.CloudTasksAddr, "127.0.0.1:8123")
	o.DatastoreAddr = cmp.Or(o.DatastoreAddr, "127.0.0.1:8081")
	o.MemcachedAddr = cmp.Or(o.MemcachedAddr, "127.0.0.1:11211")
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(e.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	var tasks cloudtasksemulator.Options
	if o.CloudTasks != nil {
		tasks = *o.CloudTasks
	}
	if tasks.Transport == nil {
		tasks.Transport = &http.Transport{DialContext: e.Net.DialContext, MaxIdleConnsPerHost: 100}
	}
	o.CloudTasks = &tasks
	return &o
}

// onClose has f called when the test ends, after the checks, last one first.
func (e *Env) onClose(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closes = append(e.closes, f)
}

// finish checks what the test leaves behind, and closes everything.
func (e *Env) finish() {
	e.t.Helper()
	e.check()
	for {
		e.mu.Lock()
		n := len(e.closes)
		if n == 0 {
			e.mu.Unlock()
			return
		}
		f := e.closes[n-1]
		e.closes = e.closes[:n-1]
		e.mu.Unlock()
		f()
	}
}

// Parent returns projects/P/locations/L.
func (e *Env) Parent() string {
	return fmt.Sprintf("projects/%s/locations/%s", e.Project, e.Location)
}

// QueueName returns the full name of a queue of this project and location.
func (e *Env) QueueName(queue string) string { return e.Parent() + "/queues/" + queue }

// CreateQueue creates a queue and returns its full name. q may be nil; its Name
// is set here. An error ends the test.
func (e *Env) CreateQueue(queue string, q *cloudtaskspb.Queue) string {
	e.t.Helper()
	if q == nil {
		q = &cloudtaskspb.Queue{}
	}
	q.Name = e.QueueName(queue)
	if _, err := e.Tasks.CreateQueue(context.Background(), &cloudtaskspb.CreateQueueRequest{Parent: e.Parent(), Queue: q}); err != nil {
		e.t.Fatalf("emulatortest: create queue %s: %v", queue, err)
	}
	return q.Name
}

// ServeHTTP runs h as a worker on the network at addr (host:port, any host name,
// port 0 picks one) until the test ends, and returns its URL, http://host:port.
// An address that is taken ends the test.
func (e *Env) ServeHTTP(addr string, h http.Handler) string {
	e.t.Helper()
	l, err := e.Net.Listen(addr)
	if err != nil {
		e.t.Fatalf("emulatortest: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:     h,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(slog.NewTextHandler(e.t.Output(), nil), slog.LevelWarn),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // always ErrServerClosed
	}()
	e.onClose(func() {
		cancel()
		_ = server.Close()
		<-served
	})
	return "http://" + l.Addr().String()
}
