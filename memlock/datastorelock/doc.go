// Package datastorelock keeps the locks of package memlock in Datastore, for
// places without a memcached, as App Engine is without a VPC.
//
//	store, err := datastorelock.New(client, nil)
//	// …
//	locker := memlock.New(store, &memlock.Options{TTL: datastorelock.TTL, Refresh: datastorelock.Refresh})
//
// Each lock is one entity of its own: kind "_latchwork_lock", named by the
// lock's key, with the owner and the time at which it runs out. No property is
// indexed.
//
// # What it costs
//
// In remote calls, and in the operations that Google charges for:
//
//	taking a free lock     1 call    1 write
//	finding it busy        2 calls   1 read; the write that was refused wrote nothing
//	taking over a dead one 4 calls   2 reads, 1 write
//	each refresh           2 calls   1 read, 1 write
//	releasing              2 calls   1 read, 1 delete
//
// A lock that is taken and released before its first refresh is thus 3 calls: 1
// write, 1 read, 1 delete. TTL and Refresh are the times to give to
// memlock.Options: Locker's own defaults suit a memcached, where a refresh every
// two seconds costs nothing. (A call that collides with another's is repeated,
// and a transaction that is given up is rolled back, which is one call more.)
//
// Taking is an insert outside of any transaction: it succeeds or it finds the
// entity there, holds no locks of Datastore's, and two that come at once don't
// wait for, or abort, each other. Only what depends on the owner is a
// transaction: a refresh, a release, and taking over what has run out.
//
// # Guarantees
//
//   - What memlock.Store promises, in pessimistic and in optimistic concurrency
//     mode. Unlike a cache, Datastore drops nothing: while clocks agree to within
//     Options.Skew, at most one owner has a lock.
//   - ABORTED is neither "busy" nor "lost": it says that another wrote the
//     entity at the same moment, who may just have released it. Who has the lock
//     is read again; if that cannot be told after a few rounds the outcome is an
//     error, "unknown".
//   - An answer that was lost is looked for: an insert that landed all the same
//     is recognized by owner and expiry. What may have been taken for a caller
//     who is gone is released.
//   - Each call returns when its context ends; the rollback and the release that
//     it may owe go on in the background, bounded in number and time.
//
// # Whose clock
//
// An entity has run out when the clock of whoever looks at it says so, by
// Options.Skew (1 s) later than was written. A reader whose clock is fast by more
// than Skew, beside a writer's, takes a lock before it has run out; a Locker
// leaves an eighth of its TTL on top of that, within which it has told its own f
// to stop. A reader whose clock is slow waits that much longer. Datastore's own
// time would halve the question without answering it: the client shows neither
// the time of a read nor when an entity was written, and to have the server
// stamp the entity leaves the reader's clock in the comparison. On Google's
// runtimes clocks agree to within milliseconds.
//
// # Not guaranteed
//
// Mutual exclusion when clocks disagree by more. Thrift: each lock writes to the
// database, so that a filter in front of short transactions costs more than it
// saves; see docs/lock-stores.md.
//
// # Failure modes
//
//   - Datastore is down or slow: errors that memlock reports as ErrUnavailable.
//     What the lock protects is down with it, as a rule.
//   - The holder dies: the lock is free TTL + Skew after its last refresh. The
//     entity stays until somebody takes that lock again, or a TTL policy on the
//     property ExpireAt of the kind deletes it. Without a policy, keys that are
//     never used again leave their last entity behind if their holder died.
//   - A process dies between the two calls of a transaction, or the answer to
//     the first is lost, under pessimistic concurrency: Datastore keeps its lock
//     on the entity for up to 60 s, and others' calls for this key run into
//     their timeouts meanwhile: unknown, neither busy nor lost.
//   - The kind holds something else: an error that names the entity.
package datastorelock
