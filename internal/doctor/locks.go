package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// lockTTL bounds how long a lock stays whose release fails.
const lockTTL = 10 * time.Second

// locks: does the store of locks give a lock to one, and only one?
func (s *session) locks(ctx context.Context) Finding {
	l := look("a lock of a random name in " + s.LockStore + ", taken, contended for, kept and released")
	const (
		first, second = "doctor-1", "doctor-2"
		consequence   = "tasks run all the same, and duplicates are stopped by the ledger alone"
	)
	remedy := "latchwork doctor  # once the check \"memcached\" is ok"
	if s.LockStore != LocksMemcached {
		remedy = "latchwork doctor  # once the check \"datastore\" is ok"
	}
	key := "latchwork-doctor/" + rand.Text()
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.Locks.Release(last, key, first) // its TTL does it otherwise
		_ = s.Locks.Release(last, key, second)
	}()
	take := func(owner string) (holder string, err error) { return s.Locks.Acquire(ctx, key, owner, lockTTL) }
	holder, err := take(first)
	if err != nil || holder != "" {
		return l.warn(remedy, "a free lock is not given (holder %q, error %v): %s", holder, err, consequence)
	}
	if holder, err = take(second); err != nil {
		return l.warn(remedy, "a lock can't be asked for: %v; %s", err, consequence)
	}
	if holder == "" {
		return l.fail(remedy, "two had one lock: the store, or the list of its servers, changes under way")
	}
	if held, err := s.Locks.Extend(ctx, key, first, lockTTL); err != nil || !held {
		return l.warn(remedy, "a lock that is held is not kept (held %v, error %v): %s", held, err, consequence)
	}
	if err := s.Locks.Release(ctx, key, first); err != nil {
		return l.warn(remedy, "a lock can't be released: %v", err)
	}
	if holder, err = take(second); err != nil || holder != "" {
		return l.warn(remedy, "a lock that was released is not free (holder %q, error %v)", holder, err)
	}
	return l.ok("one gets it, and the other when it is free")
}

// memcached: does each server answer, and have room?
func (s *session) memcached(ctx context.Context) Finding {
	l := look("version, set, get, delete and stats of each of " + strings.Join(s.MemcacheAddrs, ", "))
	if s.LockStore != LocksMemcached {
		return l.skip("the locks are in %s", s.LockStore)
	}
	var versions []string
	for _, addr := range s.MemcacheAddrs {
		seen, err := s.interrogate(ctx, addr)
		remedy := fmt.Sprintf("printf 'version\\r\\nquit\\r\\n' | nc %s", ncWords(addr))
		if err != nil {
			return l.warn(remedy, "%s: %s: tasks run all the same, and duplicates are stopped by the ledger alone", addr, s.words(err))
		}
		if seen.evictions > 0 {
			return l.warn("memcached -m 1024  # or more than it has: -m is in megabytes", "%s has evicted %d items for want of memory: locks may have been among them", addr, seen.evictions)
		}
		versions = append(versions, seen.version)
	}
	return l.ok("%s, of version %s: all answer, and nothing was evicted", count(len(versions), "server"), strings.Join(versions, ", "))
}
