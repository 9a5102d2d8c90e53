package datastorelock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/memlock/internal/operation"
)

// What suits a store whose refreshes cost two operations each: they are for
// memlock.Options. The lock of a holder that died is free after TTL + Skew.
const (
	TTL     = 30 * time.Second
	Refresh = 10 * time.Second
)

// Kind is the entities' kind, unless Options have another.
const Kind = "_latchwork_lock"

const (
	defaultSkew = time.Second
	maxSkew     = time.Hour
)

// Options of a Store. Nil and the zero value are the defaults.
type Options struct {
	// Kind of the entities; "" is the constant Kind.
	Kind string

	// Namespace of the entities; "" is the default one.
	Namespace string

	// Skew is by how much the clocks of two processes may disagree: a lock is
	// free that much after it has run out. 0 is 1 s; from 1 ms to 1 h.
	Skew time.Duration

	// MaxInFlight bounds the operations that are under way at once, those
	// included that nobody waits for any more; 0 is 256. Further ones wait for
	// their turn, or for the end of their context.
	MaxInFlight int

	// EagerBegin begins transactions by a call of its own, one more for each: for
	// Google's Firestore emulator, whose reads don't return the transaction that
	// they begin.
	EagerBegin bool
}

// A Store keeps locks in Datastore. It implements memlock.Store.
type Store struct {
	client          *datastore.Client
	kind, namespace string
	skew            time.Duration
	begin           []datastore.TransactionOption
	runner          *operation.Runner
}

// New returns a Store over client, which may be shared.
func New(client *datastore.Client, o *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("datastorelock: the Datastore client is nil")
	}
	if o == nil {
		o = &Options{}
	}
	s := &Store{
		client:    client,
		kind:      cmp.Or(o.Kind, Kind),
		namespace: o.Namespace,
		skew:      cmp.Or(o.Skew, defaultSkew),
	}
	if s.skew < time.Millisecond || s.skew > maxSkew {
		return nil, fmt.Errorf("datastorelock: Skew %v is not between %v and %v", s.skew, time.Millisecond, maxSkew)
	}
	if s.begin = []datastore.TransactionOption{datastore.MaxAttempts(1)}; !o.EagerBegin {
		s.begin = append(s.begin, datastore.BeginLater)
	}
	var err error
	s.runner, err = operation.NewRunner(operation.Rules{Package: "datastorelock", Service: "Datastore", MaxInFlight: o.MaxInFlight})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Acquire implements memlock.Store.
func (s *Store) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	mine := newRow(owner, ttl) // what is written, and recognized by
	o := s.runner.Run(ctx, operation.Request{Key: key, Owner: owner, TTL: ttl},
		func(ctx context.Context, r operation.Request) operation.Outcome { return s.acquire(ctx, r, mine) },
		func(ctx context.Context, r operation.Request) operation.Outcome { return s.undo(ctx, r, mine) })
	return o.Holder, o.Err
}

// Extend implements memlock.Store.
func (s *Store) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	o := s.runner.Run(ctx, operation.Request{Key: key, Owner: owner, TTL: ttl}, s.extend, nil)
	return o.Held, o.Err
}

// Release implements memlock.Store.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return s.runner.Run(ctx, operation.Request{Key: key, Owner: owner, TTL: time.Second}, s.release, nil).Err
}
