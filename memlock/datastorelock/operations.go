package datastorelock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"cloud.google.com/go/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/memlock/internal/operation"
)

// maxRounds bounds an operation that keeps colliding with others.
const maxRounds = 6

// errOthers ends a transaction that has found another's lock, or none.
var errOthers = errors.New("the lock is not the owner's")

// acquire inserts the entity. Where there is one already, or no clear answer, it
// looks whose it is, which also recovers an insert that landed and whose answer
// was lost.
func (s *Store) acquire(ctx context.Context, r operation.Request, mine *row) (o operation.Outcome) {
	key := s.key(r.Key)
	var last error
	for round := range maxRounds {
		if err := pause(ctx, round); err != nil {
			o.Err = errors.Join(err, last)
			return o
		}
		_, err := s.client.Mutate(ctx, datastore.NewInsert(key, mine))
		switch code := codeOf(err); {
		case err == nil:
			return operation.Outcome{Held: true, Took: true}
		case code == codes.AlreadyExists:
		case code == codes.Aborted: // not written; who has it is seen below
			last = fmt.Errorf("insert: %w", err)
		case passing(code):
			last = fmt.Errorf("insert: %w", err)
			o.Took = true // perhaps
		default:
			o.Err = fmt.Errorf("datastorelock: insert: %w", err)
			return o
		}

		var seen row
		err = s.client.Get(ctx, key, &seen)
		switch {
		case errors.Is(err, datastore.ErrNoSuchEntity):
			continue // released in between, or never written
		case passing(codeOf(err)):
			last = fmt.Errorf("get: %w", err)
			continue
		case err != nil:
			o.Err = s.fault("get", key, err)
			return o
		case seen.equal(mine):
			return operation.Outcome{Held: true, Took: true} // it was us
		case seen.owner != mine.owner && s.live(&seen):
			return operation.Outcome{Holder: seen.owner}
		}

		reentry := seen.owner == mine.owner
		holder, err := s.takeOver(ctx, key, mine)
		switch {
		case holder != "":
			return operation.Outcome{Holder: holder}
		case err == nil:
			return operation.Outcome{Held: true, Took: o.Took || !reentry}
		case passing(codeOf(err)):
			last = fmt.Errorf("take over: %w", err)
			o.Took = o.Took || !reentry // perhaps
		default:
			o.Err = s.fault("take over", key, err)
			return o
		}
	}
	o.Err = fmt.Errorf("datastorelock: nothing clear in %d attempts: %w", maxRounds, last)
	return o
}

// takeOver writes the lock over one that is the owner's, or has run out, or is
// gone; or answers who has it.
func (s *Store) takeOver(ctx context.Context, key *datastore.Key, mine *row) (holder string, err error) {
	err = s.transact(ctx, func(tx *datastore.Transaction) error {
		holder = ""
		var seen row
		err := tx.Get(key, &seen)
		if err != nil && !errors.Is(err, datastore.ErrNoSuchEntity) {
			return err
		}
		if err == nil && seen.owner != mine.owner && s.live(&seen) {
			holder = seen.owner
			return errOthers
		}
		_, err = tx.Put(key, mine)
		return err
	})
	return holder, err
}

// extend renews the owner's lock.
func (s *Store) extend(ctx context.Context, r operation.Request) operation.Outcome {
	return s.rewrite(ctx, r, func(w *row) bool { return w.owner == r.Owner && s.live(w) },
		func(tx *datastore.Transaction, key *datastore.Key) error {
			_, err := tx.Put(key, newRow(r.Owner, r.TTL))
			return err
		})
}

// release deletes the owner's lock.
func (s *Store) release(ctx context.Context, r operation.Request) operation.Outcome {
	o := s.rewrite(ctx, r, func(w *row) bool { return w.owner == r.Owner }, (*datastore.Transaction).Delete)
	o.Held = false
	return o
}

// undo deletes what acquire wrote, and not what the owner wrote since.
func (s *Store) undo(ctx context.Context, r operation.Request, mine *row) operation.Outcome {
	return s.rewrite(ctx, r, mine.equal, (*datastore.Transaction).Delete)
}

// rewrite changes a lock if it is what the caller thinks. It is repeated after
// any passing error, and then looks again.
func (s *Store) rewrite(ctx context.Context, r operation.Request, is func(*row) bool, change func(*datastore.Transaction, *datastore.Key) error) operation.Outcome {
	key := s.key(r.Key)
	var last error
	for round := range maxRounds {
		if err := pause(ctx, round); err != nil {
			return operation.Outcome{Err: errors.Join(err, last)}
		}
		err := s.transact(ctx, func(tx *datastore.Transaction) error {
			var seen row
			if err := tx.Get(key, &seen); err != nil {
				return err
			}
			if !is(&seen) {
				return errOthers
			}
			return change(tx, key)
		})
		switch {
		case err == nil:
			return operation.Outcome{Held: true}
		case errors.Is(err, errOthers), errors.Is(err, datastore.ErrNoSuchEntity):
			return operation.Outcome{}
		case !passing(codeOf(err)):
			return operation.Outcome{Err: s.fault("transaction", key, err)}
		}
		last = err
	}
	return operation.Outcome{Err: fmt.Errorf("datastorelock: nothing clear in %d attempts: %w", maxRounds, last)}
}

// transact runs f in one transaction, once: who repeats it looks anew. One that
// doesn't commit is rolled back, also when ctx has ended: under pessimistic
// concurrency others wait for it.
func (s *Store) transact(ctx context.Context, f func(*datastore.Transaction) error) error {
	_, err := s.client.RunInTransaction(ctx, f, s.begin...)
	return err
}

func (s *Store) fault(what string, key *datastore.Key, err error) error {
	return fmt.Errorf("datastorelock: %s of %v: %w", what, key, err)
}

// pause lets a collision pass before the next round. At the end of ctx there is
// none.
func pause(ctx context.Context, round int) error {
	if round == 0 {
		return nil
	}
	t := time.NewTimer(rand.N(10 * time.Millisecond << round))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("datastorelock: after %d attempts: %w", round, ctx.Err())
	}
}

// codeOf is the status of an RPC's error; OK for those that the client made
// itself.
func codeOf(err error) codes.Code {
	switch {
	case errors.Is(err, datastore.ErrConcurrentTransaction):
		return codes.Aborted
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return codes.DeadlineExceeded
	}
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return s.GRPCStatus().Code()
	}
	return codes.OK
}

// passing are the errors that say nothing about the lock. After all but Aborted,
// what was to be written may have been.
func passing(c codes.Code) bool {
	switch c {
	case codes.Aborted, codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return true
	default:
		return false
	}
}
