package datastorelock_test

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/datastorelock"
)

func Example() {
	ctx := context.Background()
	client, err := datastore.NewClient(ctx, "my-project")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	store, err := datastorelock.New(client, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// A refresh costs a read and a write: seldom is cheap.
	locker := memlock.New(store, &memlock.Options{TTL: datastorelock.TTL, Refresh: datastorelock.Refresh})
	err = locker.TryWithLock(ctx, "shard-17", "request-1", func(ctx context.Context) error {
		return nil // the work, until ctx ends
	})
	switch {
	case errors.Is(err, memlock.ErrUnavailable):
		fmt.Println("nobody knows:", err)
	case err == memlock.ErrFailedToLock:
		fmt.Println("someone else is at it")
	}
}
