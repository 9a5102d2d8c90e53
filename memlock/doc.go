// Package memlock is a best-effort lock in front of a heavier primitive.
//
// TryWithLock tries to take the lock of a key once and, if it can, calls f
// under it:
//
//	err := locker.TryWithLock(ctx, "tumble.17.lock", requestID, func(ctx context.Context) error {
//		return process(ctx) // stop when ctx ends: the lock is gone
//	})
//	if err == memlock.ErrFailedToLock {
//		return nil // someone else is doing this very work
//	}
//
// Clients that lock the same data use the same key. Best-effort here means
// best-effort: the lock is a cheap filter, and a transaction behind it is the
// authority. Colliding on memcached costs a fraction of a millisecond;
// colliding on transactions costs their retries.
//
// # Guarantees
//
//   - One attempt, then f or an error: TryWithLock never waits for the holder.
//     It returns exactly what f returns, or one of the errors of this package
//     without having called f.
//   - While the store keeps what it acknowledged, at most one call holds a
//     key. Two calls with the same client ID are two calls: the second one is
//     told "busy" (Options.Reentrant restores the original's behaviour).
//   - "Busy" and "I don't know" are different answers: someone else holds the
//     lock is the bare ErrFailedToLock; a store that cannot be asked, or did
//     not answer in time, is an error that matches both ErrFailedToLock and
//     ErrUnavailable. Acknowledge work as "being done by another" on the first
//     only.
//   - The context given to f is cancelled, with cause ErrLost, as soon as the
//     loss of the lock is seen, which takes at most Options.Refresh after
//     another took it or the store dropped it; and, whatever the network does,
//     an eighth of the TTL before the entry that was last confirmed can run
//     out. This clock is monotonic: setting the machine's time does not move it.
//   - The lock is released on every way out of f (return, panic,
//     runtime.Goexit, a cancelled parent), and never by an unconditional
//     delete: somebody else's lock stays. Apart from f itself, TryWithLock
//     waits for at most two operations of the store, each bounded by
//     Options.Timeout (MemcacheStore may take a second more, see there); it never
//     waits for a refresh.
//   - A bad key, client ID or option is refused before any network I/O, with an
//     error that states the rule and the value.
//
// # Not guaranteed
//
//   - Mutual exclusion. A cache may drop an entry at any time (eviction,
//     restart, flush); another call may then take the lock up to Options.Refresh
//     before the first holder's context ends. gomemcache's default selector
//     maps keys by crc32 modulo the number of servers: any change of the list
//     moves keys to other servers, and for a while grants are doubled.
//   - That f stops: it is told to, by its context. A process that is suspended
//     (a frozen virtual machine) learns of the loss when it wakes up.
//   - Fairness and waiting: there is no queue of waiters.
//   - Fencing: there is no token that grows with each holder. Let a transaction
//     decide.
//
// # Failure modes
//
//   - The store is down at acquire: an error matching ErrUnavailable; f was not
//     called. Whether to go on without the lock is the caller's decision.
//   - The store is down while f runs: refreshes are repeated with jitter until
//     the lease clock ends; an outage shorter than that goes unnoticed by f.
//   - The entry is gone or has another owner: that is definite, and f's context
//     ends at once.
//   - The holder dies: the entry runs out by itself, at most Options.TTL + 2 s
//     after its last refresh (memcached counts whole seconds).
//   - f ignores its cancelled context: when the caller's context has ended the
//     lock is no longer refreshed, so that a stuck f cannot hold it for ever;
//     it runs out, or is released when f returns.
//   - The list of servers changes, or differs between processes: as under "Not
//     guaranteed", two may hold one lock until the old entries run out.
//   - An answer is lost: what may have been written is looked up again, compared
//     by owner and, if nobody waits for it any more, released.
package memlock
