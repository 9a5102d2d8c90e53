package memlock

import (
	"context"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// MemcacheOptions of a MemcacheStore. Nil and the zero value are the defaults.
type MemcacheOptions struct {
	// MaxInFlight bounds the operations that are under way at once, those
	// included that nobody waits for any more; 0 is 256. Further ones wait for
	// their turn, or for the end of their context.
	MaxInFlight int
}

// A MemcacheStore keeps locks in memcached.
type MemcacheStore struct {
	client *memcache.Client
	slots  chan struct{}
}

// NewMemcacheStore returns a Store that keeps its locks through c.
func NewMemcacheStore(c *memcache.Client, o *MemcacheOptions) *MemcacheStore {
	return &MemcacheStore{client: c}
}

// Acquire implements Store.
func (s *MemcacheStore) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	return "", errors.New("memlock: not written yet")
}

// Extend implements Store.
func (s *MemcacheStore) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	return false, errors.New("memlock: not written yet")
}

// Release implements Store.
func (s *MemcacheStore) Release(ctx context.Context, key, owner string) error {
	return errors.New("memlock: not written yet")
}

// NewMemcacheClient returns a client of the given servers ("host:port").
func NewMemcacheClient(servers ...string) (*memcache.Client, error) {
	ss := new(memcache.ServerList)
	if err := ss.SetServers(servers...); err != nil {
		return nil, err
	}
	return memcache.NewFromSelector(ss), nil
}
