package tasks

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// RunInTransaction runs f in a transaction, commits it, and submits the tasks
// that f enqueued. Only contention (ABORTED) runs f again, with a new Tx, at
// most 5 times; an error of f is returned as it is. A transaction whose reads
// met trouble (see [TxError.Transient]) is not committed, whatever f made of it.
//
// A nil error means committed; the tasks are then in the queue or, after at
// most SubmitWait, left to the sweeper. A [*TxError] with AtCommit leaves open
// whether the transaction committed, unless it matches [ErrContention].
func (c *Client) RunInTransaction(ctx context.Context, f func(*Tx) error) error {
	return c.Transact(ctx, nil, f)
}

// TransactOptions tune Transact. Nil is all defaults.
type TransactOptions struct {
	Attempts   int         // default 5
	OnConflict func(error) // called for each attempt that ended ABORTED
}

// Transact is RunInTransaction with options.
func (c *Client) Transact(ctx context.Context, o *TransactOptions, f func(*Tx) error) error {
	if c.ds == nil {
		return errors.New("tasks: this client has no Datastore: NewClient was given a nil *datastore.Client")
	}
	if o == nil {
		o = &TransactOptions{}
	}
	attempts := o.Attempts
	if attempts <= 0 {
		attempts = 5
	}
	for n := 1; ; n++ {
		entries, err := c.attempt(ctx, f)
		if err == nil {
			c.submitCommitted(ctx, entries)
			return nil
		}
		if te, ok := err.(*TxError); !ok || !te.Is(ErrContention) {
			return err
		}
		if o.OnConflict != nil {
			o.OnConflict(err)
		}
		if n == attempts || !pause(ctx, n) {
			return err
		}
	}
}

// attempt runs f once and commits. Whatever does not commit is rolled back
// before anything else happens, a panic of f included.
func (c *Client) attempt(ctx context.Context, f func(*Tx) error) (entries []*outboxEntry, err error) {
	tx, err := c.newTx(ctx)
	if err != nil {
		return nil, err
	}
	committed := false
	defer func() {
		if !committed {
			tx.rollback()
		}
	}()

	err = f(tx)
	staged, trouble := tx.end()
	switch {
	case trouble != nil:
		return nil, &TxError{RPC: trouble, Func: err}
	case err != nil:
		return nil, err
	}
	entries, err = c.pack(staged)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, err := tx.tx.Put(e.key, &e.entity); err != nil {
			return nil, err
		}
	}
	// The last look: a lost lock or a passed deadline starts no commit.
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if _, err := tx.tx.Commit(); err != nil {
		if _, ok := rpcCode(err); !ok {
			return nil, err
		}
		return nil, &TxError{RPC: err, AtCommit: true}
	}
	committed = true
	return entries, nil
}

// pause waits before attempt n+1: about 10 ms, doubling, with jitter so that
// those who collided don't collide again.
func pause(ctx context.Context, n int) bool {
	d := 10 * time.Millisecond << min(n-1, 5)
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
