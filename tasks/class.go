package tasks

import (
	"context"
	"slices"
	"time"
)

// Backoff is how the queue spaces the attempts of one task: Min, doubled
// Doublings times, from then on growing linearly, never above Max.
type Backoff struct {
	Min       time.Duration // default 1 s
	Max       time.Duration // default 10 min
	Doublings int           // default 10; −1 for none
}

// Busy is what a delivery does when another holds its lock.
type Busy int

const (
	// BusyRetry lets the queue deliver again, with backoff: the default.
	BusyRetry Busy = iota
	// BusyCoalesce creates the task of the next slot and acknowledges this
	// one. It needs LockKey and Slot, and a class handled by Handle: such
	// a class writes no ledger row.
	BusyCoalesce
	// BusyDone acknowledges: whoever holds the lock does the work. What was
	// written after the holder looked waits for the next task, and so does
	// the work of a holder that fails: for periodic work under a LockKey, not
	// for tasks that must not be lost.
	BusyDone
)

// ClassOptions tune a class. A nil *ClassOptions is all defaults.
type ClassOptions[P any] struct {
	Queue       string        // short queue id; default "default"
	Version     int           // of the payload, default 1; a worker leaves payloads newer than its own to newer workers
	Aliases     []string      // former names, still served
	Timeout     time.Duration // of one run of the handler; default 60 s
	MaxAttempts int           // counted failures before the dead letter; default 25
	MaxAge      time.Duration // how long after its ETA a task that fails is still tried; default 7 d, at most 14 d
	Backoff     Backoff

	LockKey func(P) string // default "class/id"; classes that return the same key exclude each other
	Busy    Busy           // default BusyRetry
	Slot    time.Duration  // of a coalescing class: at most one task for each lock key and slot; whole milliseconds
}

// Class is a kind of work with payload P: a value, declared once and shared.
// Payloads travel as JSON.
type Class[P any] struct {
	spec    Spec
	lockKey func(P) string // nil: "class/id"
}

// NewClass declares a class under a stable wire name of 1 to 100 characters
// [A-Za-z0-9._-]. To rename it, list the old name in Aliases until the tasks
// that carry it are gone. Options that break a rule are reported by Err, by
// every Enqueue, and by handlers.New.
func NewClass[P any](name string, o *ClassOptions[P]) Class[P] {
	if o == nil {
		o = &ClassOptions[P]{}
	}
	spec := Spec{
		Name: name, Aliases: slices.Clone(o.Aliases), Queue: o.Queue, Version: o.Version,
		Timeout: o.Timeout, MaxAttempts: o.MaxAttempts, MaxAge: o.MaxAge, Backoff: o.Backoff,
		Busy: o.Busy, Slot: o.Slot,
	}.withDefaults()
	spec.err = spec.validate(o.LockKey != nil)
	return Class[P]{spec, o.LockKey}
}

// Err says which rules the class breaks; nil when it can be used.
func (c Class[P]) Err() error { return c.spec.err }

// Spec describes the class.
func (c Class[P]) Spec() Spec { return c.spec }

// EnqueueOptions tune one task. A nil *EnqueueOptions is all defaults.
type EnqueueOptions struct {
	// Name de-duplicates creation: while the queue remembers a task of this
	// name and class (hours after it finished), another is reported as a
	// duplicate. Any string of 1 to 1,500 bytes; the queue sees its hash.
	// Refused for coalescing classes, which name their tasks themselves.
	Name string
	// ETA is when the task becomes due, at any distance; zero is now. A task
	// of a coalescing class is due in a slot after it.
	ETA time.Time
	// Delay is ETA counted from now. Setting both is an error.
	Delay time.Duration
}

// Receipt is what an enqueue promises.
type Receipt struct {
	ID        string // the execution; empty when Duplicate
	TaskName  string // short name in the queue
	Duplicate bool   // a task of this name exists or existed lately. EnqueueTx never reports one
}

// Enqueue creates a task now. A task of a coalescing class is due in its slot
// (see [SlotAt]), and is reported as a duplicate when the slot has one.
//
// After an error of the queue the task may exist all the same: enqueue again
// under a Name, or make the handler bear both.
func (c Class[P]) Enqueue(ctx context.Context, client *Client, p P, o *EnqueueOptions) (Receipt, error) {
	m, err := c.message(ctx, client, p, o)
	if err != nil {
		return Receipt{}, err
	}
	return client.enqueue(ctx, m)
}

// EnqueueTx creates a task if and only if tx commits.
func (c Class[P]) EnqueueTx(tx *Tx, p P, o *EnqueueOptions) (Receipt, error) {
	if tx == nil || tx.client == nil {
		return Receipt{}, &RuleError{"transaction", "nil", "must come from RunInTransaction or HandleTx"}
	}
	m, err := c.message(tx.ctx, tx.client, p, o)
	if err != nil {
		return Receipt{}, err
	}
	return tx.stage(m)
}

func (c Class[P]) message(ctx context.Context, client *Client, p P, o *EnqueueOptions) (message, error) {
	if c.spec.err != nil {
		return message{}, c.spec.err
	}
	payload, err := encodeJSON(p)
	if err != nil {
		return message{}, &RuleError{"class " + c.spec.Name + ": payload", err, "must encode as JSON"}
	}
	var lockKey string
	if c.lockKey != nil {
		lockKey = c.lockKey(p)
	}
	return client.newMessage(ctx, c.spec, payload, lockKey, o)
}

// HandleTx handles the class inside the transaction that also writes the
// ledger: at most one commit per execution. f may run again before it: its
// only effects must be those on tx. A class with a Timeout over 240 s is
// refused, since transactions die at 270 s.
func (c Class[P]) HandleTx(f func(context.Context, *Tx, P) error) Handler {
	return eraseTx(c, f)
}

// HandleThen handles the class outside a transaction, and commits what the
// returned function writes together with the ledger: at most one commit per
// execution. f may run more than once, and so may the function. A nil function
// commits the ledger alone.
func (c Class[P]) HandleThen(f func(context.Context, P) (commit func(*Tx) error, err error)) Handler {
	return eraseThen(c, f)
}

// Handle handles the class at least once: the ledger learns of it after f
// returned, so f must bear repetition.
func (c Class[P]) Handle(f func(context.Context, P) error) Handler {
	return erase(c, f)
}
