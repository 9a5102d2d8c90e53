package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/latchwork/latchwork/tasks"
)

var (
	// ErrMayRepeat refuses a redrive of an execution that may have committed.
	ErrMayRepeat = errors.New("handlers: the execution may have committed already, and running it again may repeat its effects; redrive it with MayRepeat (--may-repeat) if that is acceptable")
	// ErrNotDead refuses a redrive of an execution that the ledger has in
	// another state: it was redriven before, or ended in another way.
	ErrNotDead = errors.New("handlers: the execution is not dead")
	// ErrMalformed refuses a redrive of what was never a task.
	ErrMalformed = errors.New("handlers: a malformed task cannot be redriven")
)

// RedriveOptions tune a redrive. Nil is all defaults.
type RedriveOptions struct {
	MayRepeat bool // redrive although the execution may have committed before
}

// Redrive runs a dead task again, as the next hop of the same execution, with
// no failures and a new NotAfter, and removes its dead letter. Of two redrives
// of one dead letter one succeeds.
func (d *DeadLetters) Redrive(ctx context.Context, key string, o *RedriveOptions) (tasks.Receipt, error) {
	if o == nil {
		o = &RedriveOptions{}
	}
	var receipt tasks.Receipt
	err := d.client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
		var dead deadEntity
		if err := tx.Get(d.key(key), &dead); err != nil {
			return err
		}
		if len(dead.Envelope) == 0 {
			return ErrMalformed
		}
		e, err := tasks.DecodeEnvelope(dead.Envelope)
		if err != nil {
			return err
		}
		var spec tasks.Spec
		if err := json.Unmarshal(dead.Spec, &spec); err != nil {
			return err
		}
		if dead.Ledger {
			if err := d.release(tx, e, dead.Reason == "outcome-unknown", o.MayRepeat); err != nil {
				return err
			}
		}
		e.Failures = 0
		if receipt, err = tx.Follow(spec, e, time.Time{}); err != nil {
			return err
		}
		return tx.Delete(d.key(key))
	})
	if err != nil {
		return tasks.Receipt{}, fmt.Errorf("handlers: redrive %q: %w", key, err)
	}
	return receipt, nil
}

// release takes the ledger row from dead to redriven.
func (d *DeadLetters) release(tx *tasks.Tx, e tasks.Envelope, unknown, mayRepeat bool) error {
	var r row
	err := tx.Get(d.ledger.key(e), &r)
	switch {
	case errors.Is(err, datastore.ErrNoSuchEntity): // its time is over: what the hop did is forgotten
		unknown = true
	case err != nil:
		return err
	case r.State != stateDead:
		return fmt.Errorf("%w: the ledger says %q", ErrNotDead, r.State)
	}
	if unknown && !mayRepeat {
		return ErrMayRepeat
	}
	return d.ledger.put(tx, e, r.as(stateRedriven))
}
