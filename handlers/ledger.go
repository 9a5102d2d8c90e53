package handlers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/latchwork/latchwork/tasks"
)

// LedgerKind is the kind of the ledger's rows: one for each hop of an
// execution, named `id.hop`, which is random.
const LedgerKind = "_latchwork_ledger"

// States of a row. The empty one is open: no row, or failures and starts only.
// All others are final: whoever finds one has nothing left to do.
const (
	stateOpen      = ""
	stateDone      = "done"
	stateMoved     = "moved"
	stateDead      = "dead"
	stateRedriven  = "redriven"
	stateCancelled = "cancelled"
)

// row is one hop's row. Nothing in it is indexed.
type row struct {
	State    string    `datastore:",noindex"`
	Failures int       `datastore:",noindex"` // counted ones, those of earlier hops included
	Starts   int       `datastore:",noindex"` // without an outcome, from the delivery on that looks like a crash loop
	Class    string    `datastore:",noindex"`
	Error    string    `datastore:",noindex"` // of the last failure, cut to 1 KiB
	At       time.Time `datastore:",noindex"`
	ExpireAt time.Time `datastore:",noindex"` // for the TTL policy
}

func (r row) as(state string) row {
	r.State, r.Starts = state, 0
	return r
}

// settledError says that the ledger has a final state.
type settledError struct{ state string }

func (e *settledError) Error() string { return "handlers: the ledger says " + e.state }

var (
	errExpired = errors.New("handlers: past the time until which a task that failed is tried")
	errUnknown = errors.New("handlers: the ledger row may be gone already, so the outcome of earlier deliveries is unknown")
)

// ledger reads and writes rows.
//
// Every write is part of a transaction that has read the row with open, and
// changes it from an open state only.
type ledger struct{ client *tasks.Client }

func (l ledger) key(e tasks.Envelope) *datastore.Key { return l.client.Key(LedgerKind, e.Key()) }

// open reads a row for a transaction that will write it. A final one is a
// *settledError.
func (l ledger) open(tx *tasks.Tx, e tasks.Envelope) (row, error) {
	var r row
	err := tx.Get(l.key(e), &r)
	return r.found(e, err)
}

// claim is open for a handler that is about to run: the hop must also be in
// time.
func (l ledger) claim(tx *tasks.Tx, d *delivery) (row, error) {
	r, err := l.open(tx, d.envelope)
	if err != nil {
		return r, err
	}
	return r, inTime(d.envelope, r, time.Now())
}

// peek is claim without a transaction, to spare a handler work that would not
// count.
func (l ledger) peek(ctx context.Context, d *delivery) (row, error) {
	var r row
	err := l.client.Datastore().Get(ctx, l.key(d.envelope), &r)
	if err != nil && !errors.Is(err, datastore.ErrNoSuchEntity) {
		return r, &tasks.TxError{RPC: err}
	}
	if r, err = r.found(d.envelope, err); err != nil {
		return r, err
	}
	return r, inTime(d.envelope, r, time.Now())
}

// found is what a Get of the row came to.
func (r row) found(e tasks.Envelope, err error) (row, error) {
	switch {
	case errors.Is(err, datastore.ErrNoSuchEntity):
		return row{Failures: e.Failures}, nil
	case err != nil:
		return row{}, err
	case r.State != stateOpen:
		return r, &settledError{r.State}
	}
	return r, nil
}

// put writes the row of a hop.
func (l ledger) put(tx *tasks.Tx, e tasks.Envelope, r row) error {
	r.Class, r.At = e.Class, time.Now()
	r.ExpireAt = e.ExpireAt()
	// What is recorded late is kept as long as a late duplicate could come.
	if least := r.At.Add(24 * time.Hour); r.ExpireAt.Before(least) {
		r.ExpireAt = least
	}
	_, err := tx.Put(l.key(e), &r)
	return err
}

// inTime tells whether a hop whose row is open may still run.
func inTime(e tasks.Envelope, r row, now time.Time) error {
	switch {
	case now.After(e.ExpireAt().Add(-time.Hour)):
		return errUnknown
	case now.After(e.NotAfter) && r.Failures > 0:
		return errExpired
	}
	return nil
}

// start records, for a delivery that looks like one of a crash loop, that the
// handler is about to run: a process that dies leaves the record behind.
func (s *Server) start(ctx context.Context, d *delivery) error {
	if d.retryCount < d.spec.MaxAttempts || !d.spec.Ledgered() {
		return nil
	}
	return s.transact(ctx, d, func(tx *tasks.Tx) error {
		r, err := s.ledger.claim(tx, d)
		if err != nil {
			return err
		}
		if r.Starts >= d.spec.MaxAttempts {
			return &crashLoopError{r.Starts}
		}
		r.Starts++
		d.started = true // even if the answer to the commit is lost
		return s.ledger.put(tx, d.envelope, r)
	})
}

// crashLoopError says that deliveries started and never came to an outcome.
type crashLoopError struct{ starts int }

func (e *crashLoopError) Error() string {
	return fmt.Sprintf("handlers: %d starts without an outcome: the process died, or was killed, each time", e.starts)
}
