// Package queues compares the queues of a project with App Engine's queue.yaml,
// and makes them what it says.
//
// `gcloud app deploy queue.yaml` is definitive: it pauses every queue that the file
// leaves out, without a word. Compare says so before, and Apply pauses such queues
// only when it is told to.
//
// It speaks v2beta3 of Cloud Tasks, as the deploy does: v2 can neither set the
// burst, and resets it with every update, nor tell pull queues from push queues.
//
// # Guarantees
//
//   - What Compare finds is all that a deploy of the file would change, and, but
//     for the queues that the file leaves out, all that Apply changes.
//   - Apply changes the fields that differ, by mask, and no others. It deletes
//     nothing. It pauses a queue only where the file says `rate: 0`, or where
//     Options.PauseOmitted allows it.
//   - Applied twice, the second time does nothing.
//
// # Not guaranteed
//
// Isolation: what somebody else changes between the comparison and the change is
// overwritten where both change the same field.
//
// # Failure modes
//
// One queue that can't be changed doesn't keep the others: the error names it and
// says how to go on. A call whose answer is lost may have changed its queue: the
// next comparison tells.
package queues
