package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

// Paths that the server answers.
const (
	TasksPath = tasks.PushPath
	SweepPath = "/_latchwork/sweep"
)

// ErrShutdown is the cause of a handler's context that ended because the server
// shuts down.
var ErrShutdown = errors.New("handlers: shutting down")

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
	RequestTimeout time.Duration // the platform's limit on a request (CLOUD_RUN_TIMEOUT_SECONDS), which handlers keep by 1 s; default none
	LockOutage     LockOutage
	SweepQueue     string // queue of the sweeper's own tasks; default "default"
	SweepShards    int    // 1 to 256; default 16
	ImitateTTL     bool   // the sweeper deletes expired ledger rows: where no TTL policy does
	Observer       Observer
	Logger         *slog.Logger // nil discards
}

// Server is an http.Handler for TasksPath and SweepPath.
type Server struct {
	client   *tasks.Client
	locker   *memlock.Locker
	verifier Verifier
	o        Options
	log      *slog.Logger
	ledger   ledger
	classes  map[string]tasks.Handler // by name and alias
	sweep    tasks.Class[sweepShard]
	mux      *http.ServeMux

	life context.Context // ends, with ErrShutdown, when handlers must stop
	stop context.CancelCauseFunc

	mu       sync.Mutex
	running  int
	draining bool
	drained  chan struct{} // closed when draining and nothing runs
}

// New makes a server for the classes of hs. It reports every class that breaks
// a rule, and every name that is served twice.
func New(c *tasks.Client, l *memlock.Locker, v Verifier, hs []tasks.Handler, o *Options) (*Server, error) {
	if o == nil {
		o = &Options{}
	}
	s := &Server{
		client: c, locker: l, verifier: v, o: *o,
		log:     cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		classes: make(map[string]tasks.Handler),
		drained: make(chan struct{}),
	}
	s.o.SweepShards = cmp.Or(o.SweepShards, 16)
	s.life, s.stop = context.WithCancelCause(context.Background())

	var errs []error
	switch {
	case c == nil || c.Datastore() == nil:
		errs = append(errs, errors.New("handlers: New needs a client that was made with a Datastore client"))
	default:
		s.ledger = ledger{c}
	}
	switch {
	case l == nil:
		errs = append(errs, errors.New("handlers: New needs a Locker"))
	case l.Err() != nil:
		errs = append(errs, l.Err())
	}
	if v == nil {
		errs = append(errs, errors.New("handlers: New needs a Verifier: who may push is closed by default"))
	}
	if o.RequestTimeout < 0 {
		errs = append(errs, fmt.Errorf("handlers: Options.RequestTimeout is %v: must not be negative", o.RequestTimeout))
	}
	if s.o.SweepShards < 1 || s.o.SweepShards > 256 {
		errs = append(errs, fmt.Errorf("handlers: Options.SweepShards is %d: must be 1 to 256", o.SweepShards))
	}
	s.sweep = sweepClass(s.o.SweepQueue)
	for _, h := range append([]tasks.Handler{s.sweep.Handle(s.sweepTask)}, hs...) {
		errs = append(errs, s.register(h))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	s.mux = http.NewServeMux()
	s.mux.HandleFunc("POST "+TasksPath+"{class}", s.servePush)
	s.mux.HandleFunc("GET "+SweepPath, s.serveSweep) // App Engine cron
	s.mux.HandleFunc("POST "+SweepPath, s.serveSweep)
	return s, nil
}

func (s *Server) register(h tasks.Handler) error {
	spec := h.Spec()
	if err := spec.Err(); err != nil {
		return err
	}
	for _, name := range append([]string{spec.Name}, spec.Aliases...) {
		if other, taken := s.classes[name]; taken {
			return fmt.Errorf("handlers: the name %q is served twice, by classes %q and %q", name, other.Spec().Name, spec.Name)
		}
		s.classes[name] = h
	}
	return nil
}

// ServeHTTP answers a push or a call of the sweeper.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Queues lists the short ids of the queues that the classes use, the sweeper's
// included, sorted.
func (s *Server) Queues() []string {
	var queues []string
	for _, h := range s.classes {
		queues = append(queues, h.Spec().Queue)
	}
	slices.Sort(queues)
	return slices.Compact(queues)
}

// cancelBefore is how long before the end of its grace a shutdown cancels the
// handlers that are left: time to roll back and to answer.
const cancelBefore = 2 * time.Second

// Shutdown refuses new deliveries and waits for the running ones. 2 s before
// the deadline of ctx it cancels those that are left; they answer 500 and count
// nothing. It returns the cause of ctx when some have not even ended then.
//
// http.Server.Shutdown belongs after it, or beside it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		if s.running == 0 {
			close(s.drained)
		}
	}
	s.mu.Unlock()
	defer s.stop(ErrShutdown)

	if deadline, ok := ctx.Deadline(); ok {
		t := time.AfterFunc(time.Until(deadline.Add(-cancelBefore)), func() { s.stop(ErrShutdown) })
		defer t.Stop()
	}
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter registers a delivery; false when the server shuts down.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.running++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.draining && s.running == 0 {
		close(s.drained)
	}
}
