package memlock_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

// The original's signature: the Locker travels in the context.
func ExampleTryWithLock() {
	// In production: memlock.NewMemcacheStore(client, nil).
	locker := memlock.New(memlocktest.NewStore(), nil)
	ctx := memlock.NewContext(context.Background(), locker)

	err := memlock.TryWithLock(ctx, "tumble.17.lock", "request-1", func(ctx context.Context) error {
		fmt.Println("request-1 processes shard 17")
		duplicate := memlock.TryWithLock(ctx, "tumble.17.lock", "request-2", func(context.Context) error {
			panic("never called: the shard is taken")
		})
		fmt.Println("request-2:", duplicate, duplicate == memlock.ErrFailedToLock)
		return nil
	})
	fmt.Println("request-1:", err)
	// Output:
	// request-1 processes shard 17
	// request-2: memlock: failed to lock true
	// request-1: <nil>
}

// Busy means that the work is being done; an outage means that nobody knows.
func ExampleLocker() {
	store := memlocktest.NewStore()
	locker := memlock.New(store, &memlock.Options{
		Prefix: "billing:",
		Observer: memlock.Observer{
			Busy: func(_ context.Context, e memlock.Event) { fmt.Println("busy with", e.Holder) },
		},
	})
	deliver := func(ctx context.Context, id string, work func(context.Context) error) string {
		err := locker.TryWithLock(ctx, "invoice-7", id, work)
		switch {
		case errors.Is(err, memlock.ErrUnavailable):
			return id + ": retry later: " + err.Error()
		case err == memlock.ErrFailedToLock:
			return id + ": someone else is at it"
		case err != nil:
			return id + ": failed: " + err.Error()
		}
		return id + ": done"
	}

	ctx := context.Background()
	fmt.Println(deliver(ctx, "delivery-1", func(ctx context.Context) error {
		fmt.Println(deliver(ctx, "delivery-2", nop))
		return ctx.Err()
	}))
	store.SetOutage(errors.New("connection refused"))
	fmt.Println(deliver(ctx, "delivery-3", nop))
	// Output:
	// busy with delivery-1
	// delivery-2: someone else is at it
	// delivery-1: done
	// delivery-3: retry later: memlock: failed to lock: lock store unavailable: connection refused
}

// A lock is lost when the cache drops it: f's context says so.
func ExampleErrLost() {
	store := memlocktest.NewStore()
	locker := memlock.New(store, &memlock.Options{TTL: time.Second, Refresh: time.Millisecond})
	err := locker.TryWithLock(context.Background(), "shard-1", "me", func(ctx context.Context) error {
		store.Evict("memlock:shard-1")
		<-ctx.Done()
		return context.Cause(ctx)
	})
	fmt.Println(err, err == memlock.ErrLost)
	// Output: memlock: the lock was lost true
}
