package handlers

import (
	"context"
	"time"

	"github.com/latchwork/latchwork/tasks"
	"go.opentelemetry.io/otel/propagation"
)

// delivery is one delivery of a known class.
type delivery struct {
	*push
	spec    tasks.Spec
	handler tasks.Handler
	call    tasks.Call
	started bool // the ledger row has a start of this delivery's, or may have
}

// deliver takes a verified delivery to its outcome. The class must be known
// and the payload readable; then the lock, which most duplicates don't get
// past; and under it the ledger, which no duplicate gets past.
func (s *Server) deliver(ctx context.Context, p *push) (Outcome, error) {
	h, known := s.classes[p.envelope.Class]
	if !known {
		return s.leaveToNewer(ctx, p, OutcomeUnknownClass, "unknown-class")
	}
	d := &delivery{push: p, spec: h.Spec(), handler: h}
	if p.envelope.Version > d.spec.Version {
		return s.leaveToNewer(ctx, p, OutcomeNewerVersion, "newer-version")
	}
	err := guard(func() (err error) { d.call, err = h.Bind(p.envelope.Payload); return err })
	if err != nil {
		return s.dead(ctx, d, "payload", err)
	}
	return s.underLock(ctx, d, func(ctx context.Context) (Outcome, error) {
		return s.execute(ctx, d)
	})
}

// execute runs under the lock: ledger, handler and commit, then whatever else
// the ledger must learn.
func (s *Server) execute(ctx context.Context, d *delivery) (Outcome, error) {
	if !d.envelope.LegTo.IsZero() {
		// A leg cannot fail, hence not expire; but its outcome can be forgotten.
		if err := inTime(d.envelope, row{}, time.Now()); err != nil && d.spec.Ledgered() {
			return s.conclude(ctx, d, err)
		}
		return s.move(ctx, d, OutcomeLeg, d.envelope.LegTo)
	}
	if err := s.start(ctx, d); err != nil {
		return s.conclude(ctx, d, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout(d), errDeadline)
	defer cancel()
	return s.conclude(ctx, d, s.run(ctx, d))
}

// run takes the way of the handler's kind.
func (s *Server) run(ctx context.Context, d *delivery) error {
	switch {
	case !d.spec.Ledgered():
		return await(s.describe(ctx, d, row{}), d.call.Handle)
	case d.handler.Kind() == tasks.KindHandleTx:
		return s.runTx(ctx, d)
	case d.handler.Kind() == tasks.KindHandleThen:
		return s.runThen(ctx, d)
	default:
		return s.runPlain(ctx, d)
	}
}

// runTx: ledger, handler, outbox, ledger and commit in one transaction.
func (s *Server) runTx(ctx context.Context, d *delivery) error {
	return s.transact(ctx, d, func(tx *tasks.Tx) error {
		r, err := s.ledger.claim(tx, d)
		if err != nil {
			return err
		}
		err = await(s.describe(ctx, d, r), func(ctx context.Context) error { return d.call.Tx(ctx, tx) })
		if err != nil {
			return err
		}
		return s.ledger.put(tx, d.envelope, r.as(stateDone))
	})
}

// runThen: the handler's slow part, then what it returned in one transaction
// with the ledger.
func (s *Server) runThen(ctx context.Context, d *delivery) error {
	r, err := s.ledger.peek(ctx, d)
	if err != nil {
		return err
	}
	var commit func(*tasks.Tx) error
	err = await(s.describe(ctx, d, r), func(ctx context.Context) (err error) {
		commit, err = d.call.Then(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return s.transact(ctx, d, func(tx *tasks.Tx) error {
		r, err := s.ledger.claim(tx, d)
		if err != nil {
			return err
		}
		if commit != nil {
			if err := await(ctx, func(context.Context) error { return commit(tx) }); err != nil {
				return err
			}
		}
		return s.ledger.put(tx, d.envelope, r.as(stateDone))
	})
}

// runPlain: the handler, then the ledger. A crash between the two repeats the
// handler: at least once.
func (s *Server) runPlain(ctx context.Context, d *delivery) error {
	r, err := s.ledger.peek(ctx, d)
	if err != nil {
		return err
	}
	if err := await(s.describe(ctx, d, r), d.call.Handle); err != nil {
		return err
	}
	return s.settle(ctx, d, func(tx *tasks.Tx, r row) error {
		return s.ledger.put(tx, d.envelope, r.as(stateDone))
	})
}

// transact runs one of the delivery's transactions.
func (s *Server) transact(ctx context.Context, d *delivery, f func(*tasks.Tx) error) error {
	return s.client.Transact(ctx, &tasks.TransactOptions{OnConflict: func(error) { d.conflicts++ }}, f)
}

// timeout is what the handler gets: the least of what the class says now, what
// it said when the queue was told, and the platform's limit.
func (s *Server) timeout(d *delivery) time.Duration {
	t := min(d.spec.Timeout, d.envelope.Timeout)
	if limit := s.o.RequestTimeout; limit > 0 {
		// Before the platform ends the request, which would look like a caller
		// that went away, and count nothing, time after time.
		t = min(t, limit-min(time.Second, limit/10))
	}
	return t
}

// describe makes the handler's context.
func (s *Server) describe(ctx context.Context, d *delivery, r row) context.Context {
	e := d.envelope
	if e.TraceParent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.TraceParent})
	}
	return tasks.WithDelivery(ctx, tasks.Delivery{
		Class: d.spec.Name, ID: e.ID, Hop: e.Hop, TaskName: d.taskName, Queue: d.queue,
		Attempt: d.retryCount + 1, Failures: r.Failures, MaxAttempts: d.spec.MaxAttempts,
		ETA: d.eta, EnqueuedAt: e.EnqueuedAt, NotAfter: e.NotAfter,
		PreviousResponse: d.previous, TraceParent: e.TraceParent,
	})
}
