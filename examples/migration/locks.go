package migration

import (
	"context"
	"errors"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/memlock"
)

// WithLocks is done once, where the request's context is made.
func WithLocks(ctx context.Context, addrs ...string) (context.Context, error) {
	cache, err := memlock.NewMemcacheClient(addrs...)
	if err != nil {
		return nil, err
	}
	locker := memlock.New(memlock.NewMemcacheStore(cache, nil), nil)
	return memlock.NewContext(ctx, locker), nil
}

// Exclusively is what callers of memlock looked like, and look like.
func Exclusively(ctx context.Context, shard, requestID string, work func(context.Context) error) error {
	err := memlock.TryWithLock(ctx, shard, requestID, work)
	if errors.Is(err, memlock.ErrUnavailable) {
		return work(ctx) // nobody knows who holds it: the transaction in work decides
	}
	if errors.Is(err, memlock.ErrFailedToLock) {
		return nil // somebody else does this very work
	}
	return err
}

// Reentrant lets a call in that has the client ID of the holder, as the original did.
func Reentrant(store memlock.Store) *memlock.Locker {
	return memlock.New(store, &memlock.Options{Reentrant: true})
}

// Visit counts visits, in the cache alone.
func Visit(client *memcache.Client, page string) (uint64, error) {
	n, err := client.Increment(page, 1)
	if errors.Is(err, memcache.ErrCacheMiss) {
		err = client.Add(&memcache.Item{Key: page, Value: []byte("1"), Expiration: int32(time.Hour / time.Second)})
		if errors.Is(err, memcache.ErrNotStored) { // another was faster
			return client.Increment(page, 1)
		}
		return 1, err
	}
	return n, err
}
