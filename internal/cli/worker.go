package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
)

// What a stranger can try at once.
const (
	exampleClass   = "messages.send"
	examplePayload = `{"from":"ada","to":["grace","edsger","nobody"],"text":"hello"}`
)

// worker is the push endpoint with the example as its app.
type worker struct {
	app    *messages.App
	server *handlers.Server
	sweep  time.Duration // between the sweeps in process; 0: none
	log    *slog.Logger
}

type workerOptions struct {
	RequestTimeout time.Duration
	Local          bool          // the services are emulators: nobody else sweeps or deletes expired rows
	Sweep          time.Duration // how often; 0 is a minute
	Observer       handlers.Observer
	Logger         *slog.Logger
}

// routes are the worker's paths: the queue's and the sweeper's, App Engine's
// warm-up, and a line for people.
func (w *worker) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/_latchwork/", w.server)
	mux.HandleFunc("GET /_ah/warmup", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(rw, "latchwork worker: tasks are pushed to "+handlers.TasksPath)
	})
	return mux
}

// sweepInProcess sweeps the outbox where no cron does. The returned channel is
// closed when the sweeper has ended.
func (w *worker) sweepInProcess(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if w.sweep > 0 {
			w.server.RunSweeper(ctx, w.sweep)
		}
	}()
	return ended
}

// createQueues makes the queues of the classes in an emulator; in the cloud,
// queue.yaml is deployed.
func (c *connections) createQueues(ctx context.Context, names []string) error {
	parent := "projects/" + c.Project + "/locations/" + c.Location
	for _, name := range names {
		_, err := c.queue.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{
			Parent: parent,
			Queue: &cloudtaskspb.Queue{
				Name:       parent + "/queues/" + name,
				RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 500, MaxConcurrentDispatches: 64},
			},
		})
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return fmt.Errorf("create the queue %s: %w", name, err)
		}
	}
	return nil
}

// newApp makes the example over the connections; nil spans are its defaults.
func (c *connections) newApp(spans *exampleFlags, log *slog.Logger) (*messages.App, error) {
	o := &messages.Options{Client: c.client, Logger: log}
	if c.cache != nil { // a nil *memcache.Client is no nil Cache
		o.Cache = c.cache
	}
	if spans != nil {
		o.Slot, o.Timeout, o.Reminder = spans.Slot, spans.Timeout, spans.Reminder
		o.Parallel = 4 // in a shard, on a machine that also runs the services
	}
	return messages.New(o)
}

// worker wires the example to the connections: locks, classes, verifier, server.
func (c *connections) worker(locker *memlock.Locker, spans *exampleFlags, mode string, getenv func(string) string, o *workerOptions) (*worker, error) {
	app, err := c.newApp(spans, o.Logger)
	if err != nil {
		return nil, err
	}
	verifier, err := c.verifier(mode, getenv, app.Handlers())
	if err != nil {
		return nil, err
	}
	server, err := handlers.New(c.client, locker, verifier, app.Handlers(), &handlers.Options{
		RequestTimeout: o.RequestTimeout,
		ImitateTTL:     o.Local,
		Observer:       o.Observer,
		Logger:         o.Logger,
	})
	if err != nil {
		return nil, err
	}
	w := &worker{app: app, server: server, log: o.Logger}
	if o.Local {
		w.sweep = cmp.Or(o.Sweep, time.Minute)
	}
	return w, nil
}

// welcome makes users for the commands that the output suggests, and sends a first
// message, so that there is something to see.
func (w *worker) welcome(ctx context.Context, send bool) error {
	if err := w.app.AddUsers(ctx, "ada", "grace", "edsger"); err != nil || !send {
		return err
	}
	_, err := w.app.Send(ctx, "ada", []string{"grace", "edsger", "nobody"}, "hello")
	return err
}
