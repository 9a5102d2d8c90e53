package handlers

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/latchwork/latchwork/tasks"
)

// DeadLetter is a task that is not tried any more.
type DeadLetter struct {
	Key       string // what Get, Redrive and Drop take
	Class     string
	ID        string // empty for a malformed task
	Hop       int
	Queue     string
	TaskName  string
	Reason    string // failed, dead, expired, crash-loop, outcome-unknown, unknown-class, newer-version, malformed
	Error     string // the last one, cut to 64 KiB
	Failures  int
	At        time.Time
	Headers   map[string]string // of the last delivery, cut to 64 KiB in all, credentials removed
	Payload   json.RawMessage   // nil for a malformed task
	Unknown   bool              // the execution may have committed: redrive needs MayRepeat
	Malformed bool              // cannot be redriven; Error has its summary
}

// DeadLetters reads and settles the dead letters of a client's namespace.
type DeadLetters struct{}

// NewDeadLetters needs a client with Datastore, and with the queue for Redrive.
func NewDeadLetters(c *tasks.Client) *DeadLetters { return &DeadLetters{} }

// List yields the dead letters of class ("" for all), in no particular order.
func (d *DeadLetters) List(ctx context.Context, class string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) { yield(DeadLetter{}, errNotBuilt) }
}

// Get returns one dead letter; an error for which errors.Is(err,
// datastore.ErrNoSuchEntity) holds when there is none.
func (d *DeadLetters) Get(ctx context.Context, key string) (DeadLetter, error) {
	return DeadLetter{}, errNotBuilt
}

// RedriveOptions tune a redrive. Nil is all defaults.
type RedriveOptions struct {
	MayRepeat bool // redrive although the execution may have committed before
}

// Redrive runs a dead task again, as the same execution with no failures and a
// new NotAfter, and removes its dead letter.
func (d *DeadLetters) Redrive(ctx context.Context, key string, o *RedriveOptions) (tasks.Receipt, error) {
	return tasks.Receipt{}, errNotBuilt
}

// Drop deletes a dead letter; its execution stays dead.
func (d *DeadLetters) Drop(ctx context.Context, key string) error { return errNotBuilt }
