package memlock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

const (
	defaultMaxInFlight = 256

	// maxExpiration is what memcached takes for a relative time.
	maxExpiration = 30 * 24 * time.Hour

	promptWindow  = time.Second
	promptTimeout = time.Second
)

// MemcacheOptions of a MemcacheStore. Nil and the zero value are the defaults.
type MemcacheOptions struct {
	// MaxInFlight bounds the operations that are under way at once, those
	// included that nobody waits for any more; 0 is 256. Further ones wait for
	// their turn, or for the end of their context.
	MaxInFlight int
}

// A MemcacheStore keeps locks in memcached, through gomemcache.
//
// The stored value is the owner, or empty for a lock that was released less
// than a second ago. Only add and cas write, so that nothing of another owner
// is ever overwritten or deleted.
//
// gomemcache takes no context. An operation whose context ends returns at once
// and goes on in the background, for at most a few times the client's Timeout;
// it is undone if it took the lock after all. As long as memcached answers,
// though, operations run where they are called, which costs half as much, and
// the one that meets the beginning of an outage returns when the client's
// Timeout ends it: at most 1 s for connecting and 1 s for the answer, and by
// default half of that. (With a Timeout above 1 s it is never done.)
//
// An operation that meets a connection which the
// server has closed (it restarted) closes the client's idle connections, which
// are as dead, and is repeated once.
type MemcacheStore struct {
	client *memcache.Client
	slots  chan struct{} // one for each operation under way
	err    error         // a configuration that cannot work
	born   time.Time
	heard  atomic.Int64 // when memcached last answered, in ns after born; 0 after a failure
}

// NewMemcacheStore returns a Store that keeps its locks through c. The client
// may be shared; its MaxIdleConns should reach the number of locks that are
// taken at once, since each connection above it is made anew (the default is 2,
// see NewMemcacheClient).
func NewMemcacheStore(c *memcache.Client, o *MemcacheOptions) *MemcacheStore {
	if o == nil {
		o = &MemcacheOptions{}
	}
	n := o.MaxInFlight
	if n == 0 {
		n = defaultMaxInFlight
	}
	s := &MemcacheStore{client: c, born: time.Now()}
	switch {
	case c == nil:
		s.err = fmt.Errorf("%w: the memcache client is nil", ErrInvalidOptions)
	case n < 0:
		s.err = fmt.Errorf("%w: MaxInFlight %d is negative", ErrInvalidOptions, n)
	default:
		s.slots = make(chan struct{}, n)
	}
	return s
}

// NewMemcacheClient returns a client of the given servers ("host:port", or the
// path of a Unix socket) that suits locks: as many idle connections as a
// MemcacheStore has operations in flight. Unlike memcache.New it reports a
// server whose name cannot be resolved, an empty one, and an empty list.
func NewMemcacheClient(servers ...string) (*memcache.Client, error) {
	if len(servers) == 0 || slices.Contains(servers, "") {
		return nil, fmt.Errorf("memlock: %w", memcache.ErrNoServers)
	}
	list := new(memcache.ServerList)
	if err := list.SetServers(servers...); err != nil {
		return nil, fmt.Errorf("memlock: memcached servers %q: %w", servers, err)
	}
	c := memcache.NewFromSelector(list)
	c.MaxIdleConns = defaultMaxInFlight
	return c, nil
}

// Acquire implements Store.
func (s *MemcacheStore) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	exp, err := expiration(ttl)
	if err != nil {
		return "", err
	}
	a := s.run(request{ctx, acquire, key, owner, exp})
	return a.holder, a.err
}

// Extend implements Store.
func (s *MemcacheStore) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	exp, err := expiration(ttl)
	if err != nil {
		return false, err
	}
	a := s.run(request{ctx, extend, key, owner, exp})
	return a.held, a.err
}

// Release implements Store.
func (s *MemcacheStore) Release(ctx context.Context, key, owner string) error {
	return s.run(request{ctx, release, key, owner, releasedExpiration}).err
}

// expiration is a TTL in memcached's whole seconds. An entry of N lives between
// N-1 and N seconds: round up and add one. (0 would be for ever.)
func expiration(ttl time.Duration) (int32, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("memlock: the TTL %v is not above 0", ttl)
	}
	// Not ttl+time.Second-1: that overflows for the longest durations.
	n := ttl/time.Second + 1
	if ttl%time.Second > 0 {
		n++
	}
	if n > maxExpiration/time.Second {
		return 0, fmt.Errorf("memlock: the TTL %v is too long: memcached takes more than %v for a date", ttl, maxExpiration)
	}
	return int32(n), nil
}

// A request is one operation.
type request struct {
	ctx        context.Context // looked at between calls of the client
	do         func(*MemcacheStore, request) answer
	key, owner string
	exp        int32
}

// An answer is the outcome of a request.
type answer struct {
	holder string // acquire: who has the lock, if not the owner
	held   bool   // acquire, extend: the owner has it
	took   bool   // acquire: the owner has it now, or may have, and had not before
	err    error
}

// run performs a request. What it took, and could not tell, it frees again.
func (s *MemcacheStore) run(r request) answer {
	if err := s.check(r); err != nil {
		return answer{err: err}
	}
	select {
	case s.slots <- struct{}{}:
	default:
		select {
		case s.slots <- struct{}{}:
		case <-r.ctx.Done():
			return answer{err: fmt.Errorf("memcached was not asked: %d operations are under way: %w", cap(s.slots), r.ctx.Err())}
		}
	}
	if s.prompt() {
		a := s.do(r)
		if a.took && !a.held {
			go s.undo(r)
		} else {
			<-s.slots
		}
		return a
	}
	answers := make(chan answer) // unbuffered: sent is received
	go func() {
		a := s.do(r)
		told := false
		select {
		case answers <- a:
			told = true
		case <-r.ctx.Done():
		}
		if a.took && !(a.held && told) {
			s.undo(r)
		} else {
			<-s.slots
		}
	}()
	select {
	case a := <-answers:
		return a
	case <-r.ctx.Done():
		return answer{err: fmt.Errorf("memcached has not answered: %w", r.ctx.Err())}
	}
}

func (s *MemcacheStore) check(r request) error {
	if s.err != nil {
		return s.err
	}
	if err := checkStoredKey(r.key); err != nil {
		return err
	}
	if r.owner == "" {
		return errors.New("memlock: the owner is empty, which stands for a free lock")
	}
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("memcached was not asked: %w", err)
	}
	return nil
}

// prompt reports whether an operation may run in its caller's goroutine, where
// ctx cannot end a call of the client: memcached has answered a moment ago, and
// the client's Timeout is short. Handing each operation to another goroutine
// would double the price of a lock, since it wakes a thread on either way.
func (s *MemcacheStore) prompt() bool {
	heard := time.Duration(s.heard.Load())
	return heard > 0 && time.Since(s.born)-heard < promptWindow &&
		cmp.Or(s.client.Timeout, memcache.DefaultTimeout) <= promptTimeout
}

// do performs a request and notes whether memcached answered.
func (s *MemcacheStore) do(r request) answer {
	a := r.do(s, r)
	if a.err != nil {
		s.heard.Store(0)
	} else {
		s.heard.Store(int64(time.Since(s.born)) + 1)
	}
	return a
}

// undo frees what a request took, as well as it can: the TTL does the rest.
func (s *MemcacheStore) undo(r request) {
	defer func() { <-s.slots }()
	r.ctx = context.WithoutCancel(r.ctx)
	release(s, r)
}
