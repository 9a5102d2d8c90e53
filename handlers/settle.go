package handlers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchwork/latchwork/tasks"
	"google.golang.org/grpc/codes"
)

// settleTimeout bounds the transaction that records an outcome. It runs even
// when the delivery's own context has ended.
const settleTimeout = 5 * time.Second

// judge tells what a run's error means; the context's cause is that of now. It
// decides nothing that needs the ledger.
func judge(err, cause error) Outcome {
	if te, ok := err.(*tasks.TxError); ok && !interrupted(cause) {
		switch {
		case te.Code() == codes.Aborted:
			return OutcomeContention
		case te.Transient() || !te.AtCommit:
			return OutcomeUnavailable
		default: // the commit was refused: what the handler wrote is wrong
			return OutcomeFailed
		}
	}
	if he, ok := err.(*handlerError); ok {
		cause = he.Cause // when application code returned, not later
	}
	switch {
	case err == nil:
		return OutcomeCommitted
	case errors.Is(cause, ErrShutdown):
		return OutcomeShutdown
	case errors.Is(cause, errDeadline):
		return OutcomeTimedOut
	case cause != nil: // memlock.ErrLost, or the caller went away
		return OutcomeInterrupted
	}
	v, ok := errors.AsType[*tasks.Verdict](err)
	if !ok {
		return OutcomeFailed
	}
	switch v.Kind {
	case tasks.VerdictSnooze:
		return OutcomeSnoozed
	case tasks.VerdictCancel:
		return OutcomeCancelled
	case tasks.VerdictDead:
		return OutcomeDead
	case tasks.VerdictBackPressure:
		return OutcomeBackPressure
	}
	return OutcomeFailed
}

// interrupted reports whether a context ended for a reason that is not the
// handler's.
func interrupted(cause error) bool { return cause != nil && !errors.Is(cause, errDeadline) }

// conclude turns what became of a run into the delivery's outcome, and writes
// what the ledger must learn of it.
func (s *Server) conclude(ctx context.Context, d *delivery, err error) (Outcome, error) {
	if _, ok := errors.AsType[*settledError](err); ok {
		return OutcomeDuplicate, err
	}
	if c, ok := errors.AsType[*crashLoopError](err); ok {
		return s.dead(ctx, d, "crash-loop", c)
	}
	switch {
	case errors.Is(err, errUnknown):
		return s.dead(ctx, d, "outcome-unknown", err)
	case errors.Is(err, errExpired):
		return s.dead(ctx, d, "expired", err)
	}
	outcome := judge(err, context.Cause(ctx))
	if !d.spec.Ledgered() {
		return s.concludeUnledgered(ctx, d, outcome, err)
	}
	switch outcome {
	case OutcomeCommitted:
		return outcome, nil
	case OutcomeFailed, OutcomeTimedOut:
		return s.count(ctx, d, outcome, err)
	case OutcomeSnoozed:
		return s.move(ctx, d, outcome, time.Now().Add(snoozeOf(err)))
	case OutcomeCancelled:
		return s.record(ctx, d, outcome, err, func(tx *tasks.Tx, r row) error {
			r.Error = clip(err.Error(), errorBytes)
			return s.ledger.put(tx, d.envelope, r.as(stateCancelled))
		})
	case OutcomeDead:
		return s.dead(ctx, d, "dead", err)
	default:
		return outcome, errors.Join(err, s.clearStarts(ctx, d))
	}
}

// concludeUnledgered is conclude for coalescing classes, which have no row.
// Their failures aren't counted: the work they stand for is journalled
// elsewhere. What bounds them is NotAfter.
func (s *Server) concludeUnledgered(ctx context.Context, d *delivery, outcome Outcome, err error) (Outcome, error) {
	switch outcome {
	case OutcomeSnoozed:
		if err := s.nextSlot(ctx, d, time.Now().Add(snoozeOf(err))); err != nil {
			return OutcomeUnavailable, err
		}
	case OutcomeDead:
		return s.dead(ctx, d, "dead", err)
	case OutcomeFailed, OutcomeTimedOut:
		if time.Now().After(d.envelope.NotAfter) {
			return s.dead(ctx, d, "expired", err)
		}
	}
	return outcome, err
}

// settle runs f in a transaction with the open row of the delivery's hop, also
// when ctx has ended.
func (s *Server) settle(ctx context.Context, d *delivery, f func(*tasks.Tx, row) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return s.transact(ctx, d, func(tx *tasks.Tx) error {
		r, err := s.ledger.open(tx, d.envelope)
		if err != nil {
			return err
		}
		return f(tx, r)
	})
}

// record settles an outcome that is final. What it cannot write comes again.
func (s *Server) record(ctx context.Context, d *delivery, o Outcome, why error, f func(*tasks.Tx, row) error) (Outcome, error) {
	switch err := s.settle(ctx, d, f); err.(type) {
	case nil:
		return o, why
	case *settledError:
		return OutcomeDuplicate, err
	default:
		return OutcomeUnavailable, errors.Join(err, why)
	}
}

// count adds a failure; the last one makes a dead letter. A commit that landed
// although its answer said otherwise is found here, and wins.
func (s *Server) count(ctx context.Context, d *delivery, o Outcome, why error) (Outcome, error) {
	final := o
	err := s.settle(ctx, d, func(tx *tasks.Tx, r row) error {
		final = o
		r.Failures++
		r.Starts = 0
		r.Error = clip(why.Error(), errorBytes)
		if r.Failures < d.spec.MaxAttempts {
			return s.ledger.put(tx, d.envelope, r)
		}
		final = OutcomeDead
		return s.putDead(tx, d, r, "failed", why)
	})
	switch err.(type) {
	case nil:
		return final, why
	case *settledError:
		return OutcomeDuplicate, err
	default:
		return o, errors.Join(why, fmt.Errorf("handlers: the failure could not be counted: %w", err))
	}
}

// dead makes a dead letter.
func (s *Server) dead(ctx context.Context, d *delivery, reason string, why error) (Outcome, error) {
	if !d.spec.Ledgered() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		err := s.transact(ctx, d, func(tx *tasks.Tx) error {
			return insertDead(tx, s.client, deadOf(d, row{}, reason, why))
		})
		if err != nil {
			return OutcomeUnavailable, errors.Join(err, why)
		}
		return OutcomeDead, why
	}
	return s.record(ctx, d, OutcomeDead, why, func(tx *tasks.Tx, r row) error {
		return s.putDead(tx, d, r, reason, why)
	})
}

func (s *Server) putDead(tx *tasks.Tx, d *delivery, r row, reason string, why error) error {
	r.Error = clip(why.Error(), errorBytes)
	if err := insertDead(tx, s.client, deadOf(d, r, reason, why)); err != nil {
		return err
	}
	return s.ledger.put(tx, d.envelope, r.as(stateDead))
}

// move ends this hop and stages the next, failures carried along.
func (s *Server) move(ctx context.Context, d *delivery, o Outcome, eta time.Time) (Outcome, error) {
	if !d.spec.Ledgered() {
		if err := s.nextSlot(ctx, d, eta); err != nil {
			return OutcomeUnavailable, err
		}
		return o, nil
	}
	return s.record(ctx, d, o, nil, func(tx *tasks.Tx, r row) error {
		next := d.envelope
		next.Failures = r.Failures
		if _, err := tx.Follow(d.spec, next, eta); err != nil {
			return err
		}
		return s.ledger.put(tx, d.envelope, r.as(stateMoved))
	})
}

// clearStarts takes this delivery out of the count of starts without an
// outcome: it has one, though not one that the ledger keeps.
func (s *Server) clearStarts(ctx context.Context, d *delivery) error {
	if !d.started {
		return nil
	}
	err := s.settle(ctx, d, func(tx *tasks.Tx, r row) error {
		if r.Starts == 0 {
			return nil
		}
		r.Starts = 0
		return s.ledger.put(tx, d.envelope, r)
	})
	if _, ok := err.(*settledError); ok {
		return nil
	}
	return err
}

// leaveToNewer answers for a class or version that this process does not know:
// a newer one may. Past NotAfter none will.
func (s *Server) leaveToNewer(ctx context.Context, p *push, o Outcome, reason string) (Outcome, error) {
	if !time.Now().After(p.envelope.NotAfter) {
		return o, nil
	}
	d := &delivery{push: p, spec: unknownSpec(p)}
	return s.dead(ctx, d, reason, fmt.Errorf("handlers: %s of task class %q, version %d", reason, p.envelope.Class, p.envelope.Version))
}

func snoozeOf(err error) time.Duration {
	if v, ok := errors.AsType[*tasks.Verdict](err); ok {
		return max(0, v.Delay)
	}
	return 0
}
