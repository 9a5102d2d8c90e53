package handlers

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

var errNotBuilt = errors.New("handlers: not built yet")

// Paths that the server answers.
const (
	TasksPath = "/_latchwork/tasks/"
	SweepPath = "/_latchwork/sweep"
)

// Caller is who pushes.
type Caller = auth.Caller

// Verifier decides who may push. It must not read the body.
type Verifier interface {
	Verify(*http.Request) (Caller, error)
}

// LockOutage is what deliveries do while memcached cannot be reached.
type LockOutage int

const (
	// ProceedWithoutLock goes on: the ledger is the authority. The default.
	ProceedWithoutLock LockOutage = iota
	// RefuseWithoutLock answers 503 until memcached is back.
	RefuseWithoutLock
)

// Options tune a server. Nil is all defaults.
type Options struct {
	RequestTimeout time.Duration // the platform's limit on a request (CLOUD_RUN_TIMEOUT_SECONDS); default none
	LockOutage     LockOutage
	SweepQueue     string // queue of the sweeper's own tasks; default "default"
	SweepShards    int    // 1 to 256; default 16
	ImitateTTL     bool   // the sweeper deletes expired ledger rows: where no TTL policy does
	Observer       Observer
	Logger         *slog.Logger // nil discards
}

// Server is an http.Handler for TasksPath and SweepPath.
type Server struct{}

// New makes a server for the classes of hs. It reports every class that breaks
// a rule, and every name that is served twice.
func New(c *tasks.Client, l *memlock.Locker, v Verifier, hs []tasks.Handler, o *Options) (*Server, error) {
	return &Server{}, nil
}

// ServeHTTP answers a push.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.Error(w, errNotBuilt.Error(), http.StatusInternalServerError)
}

// Queues lists the short ids of the queues that the classes use, the sweeper's
// included, sorted.
func (s *Server) Queues() []string { return nil }

// Shutdown waits for running handlers. 2 s before the deadline of ctx it
// cancels those that are left; their deliveries answer 500 and count nothing.
func (s *Server) Shutdown(ctx context.Context) error { return errNotBuilt }

// Sweep submits what waits in the outbox, in process.
func (s *Server) Sweep(ctx context.Context) (SweepReport, error) { return SweepReport{}, errNotBuilt }

// RunSweeper sweeps every interval (0 means a minute) until ctx ends.
func (s *Server) RunSweeper(ctx context.Context, interval time.Duration) {}

// SweepReport counts what one sweep did.
type SweepReport struct {
	Pending   int // outbox entities that were due
	Submitted int // of these, deleted after all their tasks were proved to exist
	Refused   int // of these, kept with an error
	Expired   int // ledger rows deleted in place of a TTL policy
}
