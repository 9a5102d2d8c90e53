package function

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/latchwork/latchwork/internal/cli"
)

// Name is the function's: what --entry-point and FUNCTION_TARGET say.
const Name = "Worker"

func init() { //nolint:gochecknoinits // the framework knows only what has registered itself when main starts
	env := cli.Env{Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr} //nolint:forbidigo // the framework owns main, which hands nothing in
	functions.HTTP(Name, newEntry(func(ctx context.Context) (http.Handler, error) {
		return cli.NewWorker(ctx, env)
	}, slog.New(slog.NewTextHandler(env.Stderr, nil))).ServeHTTP)
}

// entry opens the worker when the first request comes. In init there would be
// nobody to tell what is wrong: an instance that ends there is "failed to start" to
// the person who deployed it.
type entry struct {
	open func(context.Context) (http.Handler, error)
	log  *slog.Logger

	mu     sync.Mutex
	worker http.Handler // once opened
	told   string       // the reason that was logged last
}

func newEntry(open func(context.Context) (http.Handler, error), log *slog.Logger) *entry {
	return &entry{open: open, log: log}
}

// ServeHTTP hands the request to the worker, or says why there is none.
func (e *entry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	worker, err := e.opened(r.Context())
	if err != nil {
		http.Error(w, "latchwork: "+err.Error(), http.StatusInternalServerError)
		return
	}
	worker.ServeHTTP(w, r)
}

// opened returns the worker. Its connections outlive the request that opens it.
func (e *entry) opened(ctx context.Context) (http.Handler, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.worker != nil {
		return e.worker, nil
	}
	worker, err := e.open(context.WithoutCancel(ctx))
	if err != nil {
		if reason := err.Error(); reason != e.told {
			e.told = reason
			e.log.Error("the worker cannot start; every request is answered with 500 until it can", "error", err)
		}
		return nil, err
	}
	e.worker = worker
	return worker, nil
}
