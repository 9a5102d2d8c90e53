package handlers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
)

// underLock runs f under the delivery's lock, or settles the delivery without.
func (s *Server) underLock(ctx context.Context, d *delivery, f func(context.Context) (Outcome, error)) (o Outcome, err error) {
	ran := false
	lockErr := s.locker.TryWithLock(ctx, s.lockKey(d), d.owner(), func(ctx context.Context) error {
		ran = true
		o, err = f(ctx)
		return nil
	})
	switch {
	case ran:
		return o, err
	case errors.Is(lockErr, memlock.ErrUnavailable) && ctx.Err() != nil: // which says nothing about memcached
		return s.conclude(ctx, d, &handlerError{lockErr, context.Cause(ctx)})
	case errors.Is(lockErr, memlock.ErrUnavailable) && s.o.LockOutage == RefuseWithoutLock:
		return OutcomeLockDown, lockErr
	case errors.Is(lockErr, memlock.ErrUnavailable):
		s.log.WarnContext(ctx, "running without the lock; the ledger decides", "class", d.spec.Name, "id", d.envelope.ID, "error", lockErr)
		return f(ctx)
	case errors.Is(lockErr, memlock.ErrFailedToLock):
		return s.busy(ctx, d)
	default: // an invalid key
		return s.conclude(ctx, d, &handlerError{lockErr, context.Cause(ctx)})
	}
}

// lockKey carries the namespace, since memcached has none: "namespace/key".
func (s *Server) lockKey(d *delivery) string {
	key := d.call.LockKey
	if key == "" {
		key = d.spec.Name + "/" + d.envelope.ID
	}
	return s.client.Namespace() + "/" + key
}

// owner names this very delivery: two deliveries of one task are two owners.
func (d *delivery) owner() string {
	return fmt.Sprintf("%s.%d.%d.%s", d.envelope.ID, d.envelope.Hop, d.retryCount, rand.Text()[:8])
}

// busy settles a delivery whose lock another one holds.
func (s *Server) busy(ctx context.Context, d *delivery) (Outcome, error) {
	switch d.spec.Busy {
	case tasks.BusyDone:
		return OutcomeBusyDone, nil
	case tasks.BusyCoalesce:
		// What was written while the holder was in its last round must find a
		// task. Only when there is one may this one go.
		if err := s.nextSlot(ctx, d, time.Now()); err != nil {
			return OutcomeBusy, err
		}
		return OutcomeCoalesced, nil
	default:
		// Never acknowledged: the holder may fail.
		return OutcomeBusy, nil
	}
}

// nextSlot creates the task of the slot after t and after the delivery's own:
// "there is one already" must not be this one.
func (s *Server) nextSlot(ctx context.Context, d *delivery, t time.Time) error {
	if d.eta.After(t) {
		t = d.eta
	}
	return s.client.EnqueueSlot(ctx, d.spec, d.envelope.Payload, d.call.LockKey, t)
}
