package datastorelock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/datastore"
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
	defaultSkew        = time.Second
	defaultMaxInFlight = 256

	maxSkew = time.Hour

	undoTimeout = 5 * time.Second
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
	slots           chan struct{} // one for each operation under way
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
	n := cmp.Or(o.MaxInFlight, defaultMaxInFlight)
	if n < 0 {
		return nil, fmt.Errorf("datastorelock: MaxInFlight %d is negative", n)
	}
	s.slots = make(chan struct{}, n)
	return s, nil
}

// Acquire implements memlock.Store.
func (s *Store) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	a := s.run(request{ctx: ctx, do: (*Store).acquire, key: key, owner: owner, ttl: ttl})
	return a.holder, a.err
}

// Extend implements memlock.Store.
func (s *Store) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	a := s.run(request{ctx: ctx, do: (*Store).extend, key: key, owner: owner, ttl: ttl})
	return a.held, a.err
}

// Release implements memlock.Store.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return s.run(request{ctx: ctx, do: (*Store).release, key: key, owner: owner, ttl: time.Second}).err
}

// A request is one operation.
type request struct {
	ctx        context.Context
	do         func(*Store, request) answer
	key, owner string
	ttl        time.Duration
	mine       *row // acquire: what it writes, and is recognized by
}

// An answer is the outcome of a request.
type answer struct {
	holder string // acquire: who has the lock, if not the owner
	held   bool   // acquire, extend: the owner has it
	took   bool   // acquire: the owner has it now, or may have, and had not before
	err    error
}

// run performs a request in a goroutine of its own, which may owe a rollback
// when ctx has ended. What was taken, and could not be told, is freed again.
func (s *Store) run(r request) answer {
	if err := r.check(); err != nil {
		return answer{err: err}
	}
	r.mine = r.row()
	select {
	case s.slots <- struct{}{}:
	default:
		select {
		case s.slots <- struct{}{}:
		case <-r.ctx.Done():
			return answer{err: fmt.Errorf("datastorelock: Datastore was not asked: %d operations are under way: %w", cap(s.slots), r.ctx.Err())}
		}
	}
	answers := make(chan answer) // unbuffered: sent is received
	go func() {
		defer func() { <-s.slots }()
		a := r.do(s, r)
		told := false
		select {
		case answers <- a:
			told = true
		case <-r.ctx.Done():
		}
		if a.took && !(a.held && told) {
			s.undo(r)
		}
	}()
	select {
	case a := <-answers:
		return a
	case <-r.ctx.Done():
		return answer{err: fmt.Errorf("datastorelock: Datastore has not answered: %w", r.ctx.Err())}
	}
}

func (r request) check() error {
	switch {
	case r.key == "":
		return errors.New("datastorelock: the key is empty")
	case r.owner == "":
		return errors.New("datastorelock: the owner is empty")
	case r.ttl <= 0:
		return fmt.Errorf("datastorelock: the TTL %v is not above 0", r.ttl)
	}
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("datastorelock: Datastore was not asked: %w", err)
	}
	return nil
}

// undo frees what a request took, as well as it can: the TTL does the rest.
func (s *Store) undo(r request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), undoTimeout)
	defer cancel()
	r.ctx = ctx
	_ = s.rewrite(r, func(w *row) bool { return w.equal(r.mine) }, (*datastore.Transaction).Delete)
}
