package redislock

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/internal/operation"
)

// maxTTL is far below what the server counts in milliseconds.
const maxTTL = 10 * 365 * 24 * time.Hour

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
	runner *operation.Runner
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
	runner, err := operation.NewRunner(operation.Rules{
		Package: "redislock", Service: "the server", MaxInFlight: o.MaxInFlight, MaxTTL: maxTTL,
	})
	if err != nil {
		return nil, err
	}
	return &Store{client: client, runner: runner}, nil
}

// Acquire implements memlock.Store.
func (s *Store) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	o := s.runner.Run(ctx, operation.Request{Key: key, Owner: owner, TTL: ttl}, s.acquire, s.release)
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
