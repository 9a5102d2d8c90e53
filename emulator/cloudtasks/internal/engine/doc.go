// Package engine is the queue machine under every version of the Cloud Tasks
// API: queues, tasks, tombstones, the dispatcher, and their journal.
//
// It knows no protocol. What a task asks for and how a queue was described are
// opaque bytes (the specs), which the version adapters write and the Deliver
// function reads; the engine acts on the Settings beside them.
//
// # Guarantees
//
//   - A task is kept until a delivery succeeds or its lease is acknowledged, its
//     retry rule ends it, it is deleted or purged, or its time to live is over:
//     then it goes, whether or not it could have been delivered.
//   - Each change is in the journal before it is acknowledged or acted on: after
//     a kill the tasks, their attempts and the tombstones are as they were, and
//     what was in flight is delivered again.
//   - A batch is one change: after a kill all of it is there, with the notes that
//     were made of it, or nothing.
//   - A task of a pull queue is never delivered, and held by one lease at a time.
//   - The name of a task that ended can't be used again while its tombstone
//     lasts.
//   - Goroutines are spent on deliveries only, and kept for the next, sixteen at
//     most: waiting tasks cost memory alone.
//   - Deliveries in flight are bounded per queue and overall; queues take turns
//     for the overall bound.
//
// # Not guaranteed
//
// Order, and that a task is delivered only once. The service's own throttling
// is imitated only on demand, by a model: what is known of it are its causes. Its
// slow start of queues that were idle isn't.
//
// # Failure modes
//
// When the journal refuses a record (a full disk), the call fails and changes
// nothing; a dispatch waits a second and is tried again; the result of a
// delivery that can't be recorded is dropped, and the task is delivered again.
package engine
