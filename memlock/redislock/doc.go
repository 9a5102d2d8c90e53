// Package redislock keeps the locks of package memlock in Redis or Valkey, in a
// module of its own so that nobody else links their client.
//
//	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
//	store, err := redislock.New(client, nil)
//	// …
//	locker := memlock.New(store, nil)
//
// A lock is one string: its key is the lock's key, its value the owner, its
// expiry the lock's, in milliseconds.
//
// # What it costs
//
// One round trip for each operation: SET NX PX takes a free lock; finding one
// busy, or taking one's own again, is a second round trip; a refresh and a
// release are each a script that the server runs as one step, sent by its digest
// (EVALSHA) and once in full to a server that does not know it.
//
// # Guarantees
//
//   - What memlock.Store promises, with expiry kept to the millisecond by the
//     server's clock alone: clocks of workers don't matter.
//   - Nothing of another owner is ever changed: refresh and release compare and
//     write in one step.
//   - An answer that was lost is recovered: the lock that is there is known by
//     its owner. What may have been taken for a caller who is gone is released.
//   - Each call returns when its context ends, whatever the client's timeouts,
//     and what goes on in the background is bounded in number and time. Give the
//     client ContextTimeoutEnabled, so that it gives up as soon.
//
// # Not guaranteed
//
// Mutual exclusion across a failover: replication is asynchronous, so that a
// replica that becomes the primary may lack the newest locks. (Redlock is no
// remedy for what a Locker is, a filter.) A server that evicts (maxmemory-policy
// allkeys-*) may evict a lock: use noeviction or volatile-ttl, or a server of its
// own. On a cluster each lock is one key, and so one slot: nothing else is needed.
//
// # Failure modes
//
//   - The server is down, loads its data, or is a read-only replica: errors that
//     memlock reports as ErrUnavailable.
//   - The server restarts without its data: locks are free, and their holders
//     learn it with the next refresh. With an old snapshot: locks that had been
//     released may be back until they run out.
//   - The key holds something that is no string: an error, "unknown".
package redislock
