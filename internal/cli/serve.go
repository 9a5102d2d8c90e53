package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
)

type serveCommand struct {
	services
	standIns
	exampleFlags
	Addr    string        `help:"Address that the worker listens on (default: PORT on all interfaces where PORT is set, else 127.0.0.1:8080)." var:"LATCHWORK_ADDR"`
	Auth    string        `default:"oidc" enum:"oidc,cloud-run-iam,app-engine" help:"How the caller proves that it is the queue: oidc (its token is checked in full), cloud-run-iam (Cloud Run has checked the signature of a service that is not public), app-engine (App Engine's own headers)." var:"LATCHWORK_AUTH"`
	Grace   time.Duration `default:"10s" help:"How long running handlers have when the process is told to stop; 2 s before the end they are cancelled." var:"LATCHWORK_GRACE"`
	Sweep   time.Duration `default:"1m" help:"With emulators: how often what waits in the outbox is looked for. In the cloud, cron calls the sweeper." var:"LATCHWORK_SWEEP"`
	Welcome bool          `default:"true" negatable:"" help:"With the built-in emulators, send one message at the start, so that there is something to see."`
}

// Run serves the worker until ctx ends.
func (c *serveCommand) Run(ctx context.Context, env Env, log *slog.Logger) (err error) {
	p := platformFrom(env.Getenv)
	requestTimeout, err := requestTimeoutFrom(env.Getenv)
	if err != nil {
		return err
	}
	embedded := c.embedded(p)
	if !embedded {
		if err := c.complete(p); err != nil {
			return err
		}
	}
	// The port is open before the queue runs: what a restart finds in it would
	// otherwise be refused once.
	listener, err := c.listen(ctx, p, env.Getenv("PORT"))
	if err != nil {
		return err
	}
	defer listener.Close()
	var suite *emulator.Suite
	if embedded {
		c.adoptFiles()
		c.pubSub = env.Getenv("PUBSUB_EMULATOR_HOST")
		if c.AppEngine["default"] == "" { // cron.yaml's jobs go to the app, which is this worker
			c.AppEngine = maps.Clone(c.AppEngine)
			if c.AppEngine == nil {
				c.AppEngine = map[string]string{}
			}
			c.AppEngine["default"] = listener.Addr().String()
		}
		if suite, err = c.standIns.start(ctx, log, nil); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, suite.Close()) }()
		c.standsAt(suite.CloudTasksAddr(), suite.DatastoreAddr(), suite.MemcachedAddr())
		if err := c.complete(p); err != nil {
			return err
		}
	}
	c.WorkerURL = cmp.Or(c.WorkerURL, "http://"+listener.Addr().String())

	conns, w, err := c.open(ctx, env, requestTimeout, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conns.Close()) }()
	if c.CloudTasksHost != "" {
		if err := conns.createQueues(ctx, w.server.Queues()); err != nil {
			return err
		}
	}
	c.announce(env.Stdout, suite)
	if embedded {
		if err := w.welcome(ctx, c.Welcome); err != nil {
			return err
		}
	}
	return w.serve(ctx, listener, c.Grace)
}

// open connects to the services, which are complete, and wires the worker to them.
func (c *serveCommand) open(ctx context.Context, env Env, requestTimeout time.Duration, log *slog.Logger) (*connections, *worker, error) {
	if _, err := c.verifier(c.Auth, env.Getenv, nil); err != nil { // before anything is connected to
		return nil, nil, err
	}
	if err := c.reachable(ctx); err != nil {
		return nil, nil, err
	}
	conns, err := c.connect(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	conns.warnIfNoMemcached(log)

	locker := conns.newLocker(memlock.Options{Logger: log})
	w, err := conns.worker(locker, &c.exampleFlags, c.Auth, env.Getenv, &workerOptions{
		RequestTimeout: requestTimeout,
		Local:          c.CloudTasksHost != "",
		Sweep:          c.Sweep,
		Observer:       deliveryLog{env.Stdout},
		Logger:         log,
	})
	if err == nil {
		err = conns.preflight(ctx, w.app, w.server.Queues(), log)
	}
	if err != nil {
		return nil, nil, errors.Join(err, conns.Close())
	}
	return conns, w, nil
}

// listen opens the worker's port. On Google's runtimes PORT says which, and the
// platform's front end stands before it; elsewhere it stays on this machine.
func (c *serveCommand) listen(ctx context.Context, p platform, port string) (net.Listener, error) {
	addr := c.Addr
	switch {
	case addr != "":
	case port != "" && p != ownMachine:
		addr = ":" + port
	case port != "":
		addr = "127.0.0.1:" + port
	default:
		addr = defaultWorkerAddr
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the worker cannot listen on %s: %w\nIs the port taken? Choose another with --addr HOST:PORT or PORT", addr, err)
	}
	return listener, nil
}

// announce says where things are.
func (c *serveCommand) announce(out io.Writer, suite *emulator.Suite) {
	if suite == nil {
		fmt.Fprintf(out, "latchwork: worker %s, project %s, queues in %s\n", c.WorkerURL, c.Project, c.Location)
		return
	}
	kept := "kept in " + c.Data
	if c.Ephemeral {
		kept = "in memory, gone when it ends"
	}
	fmt.Fprintf(out, "Latchwork runs, %s. Ctrl-C stops it.\n\n", kept)
	fmt.Fprintf(out, "  worker       %s\n", c.WorkerURL)
	if addr := suite.ConsoleAddr(); addr != "" {
		fmt.Fprintf(out, "  console      http://%s/\n", addr)
	}
	for _, assignment := range suite.Env() {
		fmt.Fprintf(out, "  export %s\n", assignment)
	}
	fmt.Fprintf(out, "\nIn another terminal:\n  go run . enqueue %s '%s'\n\n", exampleClass, examplePayload)
}

// requestTimeoutFrom reads the platform's limit on one request.
func requestTimeoutFrom(getenv func(string) string) (time.Duration, error) {
	text := getenv("CLOUD_RUN_TIMEOUT_SECONDS")
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds <= 0 || seconds > 24*60*60 {
		return 0, fmt.Errorf("CLOUD_RUN_TIMEOUT_SECONDS=%q must be a number of seconds from 1 to 86400", text)
	}
	return time.Duration(seconds) * time.Second, nil
}

// deliveryLog prints one line for each delivery that is finished, for people who
// watch. What went wrong is in the log.
type deliveryLog struct{ out io.Writer }

// Delivered prints e.
func (l deliveryLog) Delivered(e handlers.Event) {
	if e.Status == http.StatusOK {
		fmt.Fprintf(l.out, "%s  %-20s %-14s %v\n", time.Now().Format("15:04:05.000"), e.Class, e.Outcome, e.Took.Round(100*time.Microsecond))
	}
}

// serve answers pushes until ctx ends, then lets running handlers end.
func (w *worker) serve(ctx context.Context, listener net.Listener, grace time.Duration) error {
	server := &http.Server{
		Handler:           w.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	sweep, stopSweeping := context.WithCancel(ctx)
	defer stopSweeping()
	sweeping := w.sweepInProcess(sweep)

	var failed error
	select {
	case failed = <-ended:
	case <-ctx.Done():
	}
	stopSweeping()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := w.server.Shutdown(last)
	err = errors.Join(err, server.Shutdown(last), server.Close())
	<-sweeping
	if failed != nil {
		return fmt.Errorf("the worker's listener: %w", failed)
	}
	return err
}
