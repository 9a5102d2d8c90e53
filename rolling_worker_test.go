package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

// The worker that TestRollingRestart deploys again and again, in two versions: the
// old one knows no bonus, and of credits their first format only.
const (
	oldVersion = "old"
	newVersion = "new"

	workerAccount = "worker@latchwork-local.iam.gserviceaccount.com"
	workerGrace   = 3 * time.Second // until SIGTERM is answered; Cloud Run waits for 10 s
)

// A credit is the payload of all classes: N is whose effect may be there once.
type credit struct {
	N    int
	Slow string // see take
}

// rollingClasses are the classes of one version, and the one that both know alike.
func rollingClasses(version string) (credits, bonus, receipt tasks.Class[credit]) {
	backoff := tasks.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second}
	format := map[string]int{oldVersion: 1, newVersion: 2}[version]
	return tasks.NewClass("credit", &tasks.ClassOptions[credit]{Version: format, Backoff: backoff, Timeout: 5 * time.Second}),
		tasks.NewClass("bonus", &tasks.ClassOptions[credit]{Backoff: backoff}),
		tasks.NewClass("receipt", &tasks.ClassOptions[credit]{Backoff: backoff})
}

// An effect is what one execution leaves: Count says how often it committed, and
// Follow is the execution that it staged.
type effect struct {
	Count   int
	Version string
	Follow  string
}

// counters spread the sum of all effects, so that transactions rarely meet.
const counters = 64

type total struct{ N int }

// commitEffect counts, in tx, an execution of a class.
func commitEffect(tx *tasks.Tx, class, version string, c credit, follow string) error {
	keys := []*datastore.Key{
		datastore.NameKey("Effect", fmt.Sprintf("%s/%d", class, c.N), nil),
		datastore.IDKey("Total", int64(1+c.N%counters), nil),
	}
	var e effect
	var sum total
	for i, dst := range []any{&e, &sum} {
		if err := tx.Get(keys[i], dst); err != nil && !errors.Is(err, datastore.ErrNoSuchEntity) {
			return err
		}
	}
	e.Count++
	e.Version, e.Follow = version, follow
	sum.N++
	if _, err := tx.Put(keys[0], &e); err != nil {
		return err
	}
	_, err := tx.Put(keys[1], &sum)
	return err
}

// take is the time that the work takes: a moment, or until long after a SIGTERM
// would have been answered, once, for a handler that is cut short.
func take(ctx context.Context, c credit) error {
	d := 10 * time.Millisecond
	if delivery, _ := tasks.DeliveryFrom(ctx); c.Slow == "stuck" && delivery.Attempt == 1 {
		d = time.Minute
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// rollingHandlers are the handlers of a version. Each is of another kind, and a
// credit enqueues its receipt in its own transaction.
func rollingHandlers(version string) []tasks.Handler {
	credits, bonus, receipt := rollingClasses(version)
	hs := []tasks.Handler{
		credits.HandleTx(func(ctx context.Context, tx *tasks.Tx, c credit) error {
			if err := take(ctx, c); err != nil {
				return err
			}
			follow, err := receipt.EnqueueTx(tx, c, nil)
			if err != nil {
				return err
			}
			return commitEffect(tx, "credit", version, c, follow.ID)
		}),
		receipt.HandleThen(func(ctx context.Context, c credit) (func(*tasks.Tx) error, error) {
			return func(tx *tasks.Tx) error { return commitEffect(tx, "receipt", version, c, "") }, nil
		}),
	}
	if version == newVersion {
		hs = append(hs, bonus.HandleTx(func(ctx context.Context, tx *tasks.Tx, c credit) error {
			return commitEffect(tx, "bonus", version, c, "")
		}))
	}
	return hs
}

// rollingWorker serves a version on addr until SIGTERM, and prints what its
// deliveries came to. front is the address that the queue pushes to.
func rollingWorker(version, addr, front string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))

	client, closeClient, err := rollingClient(ctx, getenv("CLOUD_TASKS_EMULATOR_HOST"), getenv("DATASTORE_EMULATOR_HOST"), front)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeClient()) }()
	cache, err := memlock.NewMemcacheClient(getenv("MEMCACHE_ADDRS"))
	if err != nil {
		return err
	}
	defer cache.Close()
	verifier, err := auth.NewOIDC(&auth.OIDCOptions{
		Audiences: []string{front}, Emails: []string{workerAccount},
		JWKSURL: "http://" + getenv("CLOUD_TASKS_EMULATOR_HOST") + "/oauth2/v3/certs", Getenv: getenv,
	})
	if err != nil {
		return err
	}
	var outcomes handlers.Counters
	worker, err := handlers.New(client, memlock.New(memlock.NewMemcacheStore(cache, nil), nil), verifier, rollingHandlers(version),
		&handlers.Options{Observer: &outcomes, Logger: log})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go worker.RunSweeper(ctx, time.Second)
	server := &http.Server{Handler: healthy(ctx, worker), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintln(stdout, "worker: ready")

	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), workerGrace)
	defer cancel()
	err = errors.Join(err, worker.Shutdown(grace), server.Shutdown(grace))
	for outcome, n := range outcomes.All() {
		fmt.Fprintln(stdout, "outcome", outcome, n)
	}
	return err
}

// healthy adds the path that the front end asks: 503 from the moment of SIGTERM.
func healthy(ctx context.Context, worker http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/_latchwork/", worker)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if ctx.Err() != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return mux
}

// rollingClient is what workers and the load share: tasks go to front.
func rollingClient(ctx context.Context, queueHost, entityHost, front string) (_ *tasks.Client, closeAll func() error, err error) {
	entities, err := datastore.NewClient(ctx, "latchwork-local", tasks.EmulatorOptions(entityHost)...)
	if err != nil {
		return nil, nil, err
	}
	queue, err := cloudtasks.NewClient(ctx, tasks.EmulatorOptions(queueHost)...)
	if err != nil {
		return nil, nil, errors.Join(err, entities.Close())
	}
	client, err := tasks.NewClient(entities, queue, &tasks.ClientOptions{
		Project: "latchwork-local", Location: "local1", URL: front, ServiceAccount: workerAccount, Audience: front,
	})
	return client, func() error { return errors.Join(queue.Close(), entities.Close()) }, err
}
