// Package cloudtasks is a stand-in for Google Cloud Tasks: the gRPC API
// google.cloud.tasks.v2 over one engine that keeps, schedules and delivers
// tasks, for one machine and without an account.
//
// # Guarantees
//
//   - Errors, stored shapes, defaults, limits, request headers, backoff and the
//     rule that ends retries are those of the real service, as far as they are
//     published or have been recorded.
//   - A task that was acknowledged is delivered until an attempt succeeds, its
//     retry rule ends it, or it is deleted, purged or 31 days old. With a data
//     folder that holds across kill -9, and so do tombstones; what was in flight
//     is delivered again.
//   - Identity tokens are signed (RS256) and can be verified with the keys that
//     the same port serves over HTTP/1.1.
//   - Goroutines are spent on deliveries, never on waiting tasks.
//
// # Not guaranteed
//
// As with the real service: order, and that a task runs only once. The automatic
// slowing of a queue whose targets answer 429 or 503 isn't imitated.
//
// # Failure modes
//
// A target may refuse, hang, reset or answer without end: the attempt fails by
// its deadline and is retried. App Engine targets need an address in
// Options.AppEngine (the program's flag --app-engine): without one each attempt
// fails and says so. The first failure of a task and its giving up are logged,
// and Stats has the last failure of each queue. A full disk fails the calls that
// would change something, and changes nothing. Close ends deliveries in flight
// without recording a result.
//
// # Not there yet
//
// The REST dialects and the versions v2beta2 and v2beta3; IAM, CMEK and the
// operations and locations services. They answer UNIMPLEMENTED.
package cloudtasks
