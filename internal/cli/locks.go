package cli

import (
	"log/slog"

	"github.com/latchwork/latchwork/internal/doctor"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/datastorelock"
)

// What LOCK_STORE may say.
const (
	locksInMemcached = doctor.LocksMemcached
	locksInDatastore = doctor.LocksDatastore
)

// lockStore is where the locks are when LOCK_STORE does not say.
func (s *services) lockStore() string {
	if len(s.MemcacheAddrs) > 0 {
		return locksInMemcached
	}
	return locksInDatastore
}

// newLockStore keeps locks where LOCK_STORE says.
func (c *connections) newLockStore() (memlock.Store, error) {
	if c.LockStore == locksInDatastore {
		return datastorelock.New(c.entities, &datastorelock.Options{EagerBegin: c.EagerBegin})
	}
	return memlock.NewMemcacheStore(c.cache, nil), nil
}

// newLocker takes locks there, with times that suit what a refresh costs.
func (c *connections) newLocker(o memlock.Options) *memlock.Locker {
	if c.LockStore == locksInDatastore {
		o.TTL, o.Refresh = datastorelock.TTL, datastorelock.Refresh
	}
	return memlock.New(c.locks, &o)
}

// warnIfNoMemcached says so and goes on: the ledger is the authority, locks only
// save work.
func (c *connections) warnIfNoMemcached(log *slog.Logger) {
	if c.cache == nil {
		return
	}
	err := c.cache.Ping()
	switch {
	case err == nil:
	case c.LockStore == locksInDatastore:
		log.Warn("memcached cannot be reached; locks are in Datastore, and the example looks at each shard for itself until it is back: check MEMCACHE_ADDRS and the network",
			"addrs", c.MemcacheAddrs, "error", err)
	default:
		log.Warn("memcached cannot be reached; tasks run, and duplicates are stopped by Datastore alone until it is back: check MEMCACHE_ADDRS and the network, or keep the locks in Datastore with LOCK_STORE=datastore",
			"addrs", c.MemcacheAddrs, "error", err)
	}
}
