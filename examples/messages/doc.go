// Package messages is an application on Latchwork, small enough to read in one
// sitting: a user sends a message to many users, each delivery is acknowledged
// to the sender, and the sender is reminded of the result.
//
// It is built the way large applications on Datastore are: no transaction ever
// changes two users. What one user's transaction wants done to another user it
// writes down as a [Mutation], in the same commit; a background worker runs the
// mutations of one user together, in one transaction of their own.
//
//	Send ──► WriteMessage on the sender
//	             │ fan-out, one each
//	             ▼
//	         SendMessage on the recipient ──► messages.notify, a task of its own
//	             │ fan-in
//	             ▼
//	         WriteReceipt on the sender ──► the last one cancels Timeout
//	                                        and leaves a Reminder for later
//
// Read mutation.go, then message.go, which has the four mutations above and
// knows nothing of queues and locks; then shard.go and process.go, which run
// them.
//
// # Where Latchwork comes in
//
// Users are spread over shards by hash. Whoever commits a mutation enqueues, in
// the same transaction, a task of the shard that it falls into; the queue keeps
// one task for each shard and time slot, so a thousand mutations cost a handful
// of runs. The run of a shard is guarded by memlock: two of them would collide
// in every transaction. A delivery that finds its shard busy leaves a task for
// the next slot and goes; nothing is lost, and nobody waits.
//
// Each delivered message also enqueues a messages.notify task, which adds a
// notification and is not idempotent: a queue that delivers it twice is stopped
// by the ledger.
//
// # Guarantees
//
// A message that Send acknowledged is delivered once to each known recipient,
// with one notification, and every recipient ends in the sender's tally as a
// receipt or a failure. [App.Books] counts from the entities themselves;
// [Books.Balanced] says what is missing.
//
// # Not guaranteed
//
// Mutations run at least once and must be idempotent. Cancelling one is best
// effort: it may be running.
//
// # Failure modes
//
// memcached down: shards may run twice at once, which costs conflicts and
// changes nothing. Worker killed after a commit: the mutations run again and
// find their work done. A mutation that fails stays in the journal and is tried
// again, ever more seldom; the others of its user commit. Datastore down: the
// shards' tasks are retried.
package messages
