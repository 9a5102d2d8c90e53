package memlock

import (
	"context"
	"time"
)

// A Store keeps locks. Each operation is conditional on the owner, so that
// nobody changes what belongs to another; memlocktest.TestStore checks an
// implementation against all that is said here. MemcacheStore is one; packages
// datastorelock, redislock and gaelock below this one have others.
//
// A Locker gives it keys of 1 to 250 bytes without control bytes or spaces,
// owners that are not empty, and TTLs above zero. A Store is used by many
// goroutines at once. Each method returns soon after ctx ends.
//
// An error means that the outcome is unknown. A Store that reported one, or
// whose caller gave up, undoes a late success as well as it can; the TTL does
// the rest.
type Store interface {
	// Acquire takes the lock for owner if it is free or already owner's, to run
	// out not before ttl from now, and answers "". Otherwise it changes nothing
	// and answers who has it (UnknownHolder if it cannot tell).
	Acquire(ctx context.Context, key, owner string, ttl time.Duration) (holder string, err error)

	// Extend makes a lock that is owner's run out not before ttl from now. It
	// answers false, and changes nothing, when the lock is not owner's any more:
	// it is free, gone or another's. That answer is definite.
	Extend(ctx context.Context, key, owner string, ttl time.Duration) (held bool, err error)

	// Release frees a lock that is owner's, for anyone to take at once. For any
	// other it changes nothing and answers nil.
	Release(ctx context.Context, key, owner string) error
}

// UnknownHolder is what Store.Acquire answers when the lock is another's, and
// whose it is cannot be told.
const UnknownHolder = "?"
