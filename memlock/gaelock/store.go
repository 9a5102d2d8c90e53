package gaelock

import (
	"cmp"
	"context"
	"time"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/internal/operation"
)

const (
	defaultMaxInFlight = 64

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
	runner *operation.Runner
}

var _ memlock.Store = (*Store)(nil)

// New returns a Store. It has no client: the SDK takes all that it needs from
// the context of each call and from the environment.
func New(o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	runner, err := operation.NewRunner(operation.Rules{
		Package: "gaelock", Service: "memcache", MaxInFlight: cmp.Or(o.MaxInFlight, defaultMaxInFlight),
		MaxKeyLen: maxKeyLen, MaxTTL: maxTTL, EmptyOwner: ", which stands for a free lock",
	})
	if err != nil {
		return nil, err
	}
	return &Store{runner}, nil
}

// Acquire implements memlock.Store.
func (s *Store) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	o := s.runner.Run(ctx, operation.Request{Key: key, Owner: owner, TTL: ttl}, acquire, release)
	return o.Holder, o.Err
}

// Extend implements memlock.Store.
func (s *Store) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	o := s.runner.Run(ctx, operation.Request{Key: key, Owner: owner, TTL: ttl}, extend, nil)
	return o.Held, o.Err
}

// Release implements memlock.Store.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	return s.runner.Run(ctx, operation.Request{Key: key, Owner: owner, TTL: time.Second}, release, nil).Err
}
