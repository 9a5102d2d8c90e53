// Package doctor looks at everything that a worker rests on (queues, tokens,
// roles, Datastore, locks, the outbox) and says what is wrong with it, each with a
// remedy to paste.
//
// # Guarantees
//
//   - Every check ends when Setup.Timeout is over, and Run within three times that,
//     since checks rest on each other and a task has to be taken back. The findings
//     are always all there, in the order of Checks.
//   - Nothing is changed. One task is created for an hour ahead and deleted at once
//     (only where these credentials may delete it), and one lock and one memcached
//     key of random names live for a moment.
//   - What could not be looked at is said, with the reason: never "ok".
//
// # Not guaranteed
//
// That the worker may do what these credentials may: run it with the worker's own.
//
// # Failure modes
//
// A service that doesn't answer fails its check; the checks that rest on it are
// skipped and say so.
package doctor
