package redislock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchwork/latchwork/memlock"
)

const (
	defaultMaxInFlight = 256

	undoTimeout = 5 * time.Second

	// maxTTL is far below what the server counts in milliseconds.
	maxTTL = 10 * 365 * 24 * time.Hour
)

// Options of a Store. Nil and the zero value are the defaults.
type Options struct {
	// MaxInFlight bounds the operations that are under way at once, those
	// included that nobody waits for any more; 0 is 256. Further ones wait for
	// their turn, or for the end of their context.
	MaxInFlight int
}

// A Store keeps locks in Redis or Valkey. It implements memlock.Store.
type Store struct {
	client redis.UniversalClient
	slots  chan struct{} // one for each operation under way
}

var _ memlock.Store = (*Store)(nil)

// New returns a Store over client (of one server, a cluster, or behind
// sentinels), which may be shared.
func New(client redis.UniversalClient, o *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("redislock: the client is nil")
	}
	if o == nil {
		o = &Options{}
	}
	n := cmp.Or(o.MaxInFlight, defaultMaxInFlight)
	if n < 0 {
		return nil, fmt.Errorf("redislock: MaxInFlight %d is negative", n)
	}
	return &Store{client: client, slots: make(chan struct{}, n)}, nil
}

// Acquire implements memlock.Store.
func (s *Store) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	a := s.run(request{ctx, (*Store).acquire, key, owner, ttl})
	return a.holder, a.err
}

// Extend implements memlock.Store.
func (s *Store) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	a := s.run(request{ctx, (*Store).extend, key, owner, ttl})
	return a.held, a.err
}

// Release implements memlock.Store.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return s.run(request{ctx, (*Store).release, key, owner, time.Second}).err
}

// A request is one operation.
type request struct {
	ctx        context.Context
	do         func(*Store, request) answer
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

// run performs a request in a goroutine of its own, since the client may look at
// ctx only between its steps. What was taken, and could not be told, is freed.
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
			return answer{err: fmt.Errorf("redislock: the server was not asked: %d operations are under way: %w", cap(s.slots), r.ctx.Err())}
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
		return answer{err: fmt.Errorf("redislock: the server has not answered: %w", r.ctx.Err())}
	}
}

func (r request) check() error {
	switch {
	case r.key == "":
		return errors.New("redislock: the key is empty")
	case r.owner == "":
		return errors.New("redislock: the owner is empty")
	case r.ttl <= 0:
		return fmt.Errorf("redislock: the TTL %v is not above 0", r.ttl)
	case r.ttl > maxTTL:
		return fmt.Errorf("redislock: the TTL %v is above %v", r.ttl, maxTTL)
	}
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("redislock: the server was not asked: %w", err)
	}
	return nil
}

// undo frees what a request took, as well as it can: the TTL does the rest.
func (s *Store) undo(r request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), undoTimeout)
	defer cancel()
	r.ctx = ctx
	s.release(r)
}
