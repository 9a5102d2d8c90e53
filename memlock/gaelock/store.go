package gaelock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchwork/latchwork/memlock"
)

const (
	defaultMaxInFlight = 64

	undoTimeout = 5 * time.Second

	maxKeyLen = 250
	maxTTL    = 365 * 24 * time.Hour // memcache takes 30 years and more for a date
)

// Options of a Store. Nil and the zero value are the defaults.
type Options struct {
	// MaxInFlight bounds the operations that are under way at once, those
	// included that nobody waits for any more; 0 is 64, since the SDK has at
	// most 100 connections. Further ones wait for their turn, or for the end of
	// their context.
	MaxInFlight int
}

// A Store keeps locks in App Engine's memcache. It implements memlock.Store.
type Store struct {
	slots chan struct{} // one for each operation under way
}

var _ memlock.Store = (*Store)(nil)

// New returns a Store. It has no client: the SDK takes all that it needs from
// the context of each call and from the environment.
func New(o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	n := cmp.Or(o.MaxInFlight, defaultMaxInFlight)
	if n < 0 {
		return nil, fmt.Errorf("gaelock: MaxInFlight %d is negative", n)
	}
	return &Store{slots: make(chan struct{}, n)}, nil
}

// Acquire implements memlock.Store.
func (s *Store) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	a := s.run(request{ctx, acquire, key, owner, ttl})
	return a.holder, a.err
}

// Extend implements memlock.Store.
func (s *Store) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	a := s.run(request{ctx, extend, key, owner, ttl})
	return a.held, a.err
}

// Release implements memlock.Store.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return s.run(request{ctx, release, key, owner, time.Second}).err
}

// A request is one operation.
type request struct {
	ctx        context.Context
	do         func(request) answer
	key, owner string
	ttl        time.Duration
}

// An answer is the outcome of a request.
type answer struct {
	holder string // acquire: who has the lock, if not the owner
	held   bool   // acquire, extend: the owner has it
	took   bool   // acquire: the owner has it now, or may have, and had not before
	err    error
}

// run performs a request in a goroutine of its own, since no call of the SDK ends
// with ctx. What was taken, and could not be told, is freed again.
func (s *Store) run(r request) answer {
	if err := r.check(); err != nil {
		return answer{err: err}
	}
	select {
	case s.slots <- struct{}{}:
	default:
		select {
		case s.slots <- struct{}{}:
		case <-r.ctx.Done():
			return answer{err: fmt.Errorf("gaelock: memcache was not asked: %d operations are under way: %w", cap(s.slots), r.ctx.Err())}
		}
	}
	answers := make(chan answer) // unbuffered: sent is received
	go func() {
		defer func() { <-s.slots }()
		a := r.do(r)
		told := false
		select {
		case answers <- a:
			told = true
		case <-r.ctx.Done():
		}
		if a.took && !(a.held && told) {
			undo(r)
		}
	}()
	select {
	case a := <-answers:
		return a
	case <-r.ctx.Done():
		return answer{err: fmt.Errorf("gaelock: memcache has not answered: %w", r.ctx.Err())}
	}
}

func (r request) check() error {
	switch {
	case r.key == "":
		return errors.New("gaelock: the key is empty")
	case len(r.key) > maxKeyLen:
		return fmt.Errorf("gaelock: the key has %d bytes: at most %d are allowed", len(r.key), maxKeyLen)
	case r.owner == "":
		return errors.New("gaelock: the owner is empty, which stands for a free lock")
	case r.ttl <= 0:
		return fmt.Errorf("gaelock: the TTL %v is not above 0", r.ttl)
	case r.ttl > maxTTL:
		return fmt.Errorf("gaelock: the TTL %v is above %v", r.ttl, maxTTL)
	}
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("gaelock: memcache was not asked: %w", err)
	}
	return nil
}

// undo frees what a request took, as well as it can: the TTL does the rest.
func undo(r request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), undoTimeout)
	defer cancel()
	r.ctx = ctx
	release(r)
}
