package memlocktest

import (
	"testing"
	"time"

	"github.com/latchwork/latchwork/memlock"
)

// A Harness gives TestStore a storage of its own for each test, and the hands
// of the operators and neighbours that a Store cannot see.
type Harness struct {
	// Store is under test.
	Store memlock.Store

	// Steal replaces what is stored under key, as another client might.
	Steal func(key, owner string) error

	// Evict removes what is stored under key.
	Evict func(key string) error

	// Wait lets time pass for the storage: time.Sleep in a synctest bubble.
	// Nil leaves the tests of expiry out.
	Wait func(time.Duration)

	// Resolution is how much longer than its TTL an entry may live.
	Resolution time.Duration
}

// TestStore holds the store of each harness to the contract of memlock.Store.
func TestStore(t *testing.T, harness func(t *testing.T) Harness) {}
