// Package cloudtasks is a stand-in for Google Cloud Tasks, for one machine and
// without an account: google.cloud.tasks.v2, v2beta3 and v2beta2, every method of
// them, over gRPC and over REST on one port, above one engine that keeps,
// schedules and delivers tasks. A queue or task made by one version is that of
// the others too. On the same port are Cloud Scheduler, and what the versions
// have in common with all of Google's APIs: locations, operations, policies.
//
// Google's clients work unmodified: the CLI (gcloud tasks, gcloud beta tasks,
// gcloud alpha tasks), the client libraries, and Firebase's task queues, whose
// paths have no version and whose tasks without a URL go to the HTTP target of
// their queue.
//
// # Guarantees
//
//   - Errors, stored shapes, defaults, limits, request headers, backoff and the
//     rule that ends retries are those of the real service, as far as they are
//     published or have been recorded, and the same in all versions and over both
//     transports.
//   - A task that was acknowledged is delivered until an attempt succeeds, its
//     retry rule ends it, or it is deleted, purged or older than its queue keeps
//     tasks (31 days). With a data folder that holds across kill -9, and so do
//     tombstones, leases, policies, and the answers to batches with a request id;
//     what was in flight is delivered again.
//   - Identity tokens are signed (RS256) and can be verified with the keys that
//     the same port serves over HTTP/1.1.
//   - Goroutines are spent on deliveries, never on waiting tasks.
//
// # Not guaranteed
//
// As with the real service: order, and that a task runs only once. A queue whose
// targets answer 429 or 503 is slowed down only with Options.Throttle (the
// program's flag --throttle), by a model: nobody has recorded the real rule.
// Nobody is asked who they are: policies are kept and grant everything, keys are
// kept and encrypt nothing. What is known of v2beta2 and of pull queues comes from
// their documentation; the texts of their errors are our own.
//
// # Failure modes
//
// A target may refuse, reset or hang, in the middle of its answer too: the attempt
// fails, at its deadline at the latest, and is retried. Of an answer without end
// the first MB is read, and its status counts. App Engine targets need an address
// in Options.AppEngine (the program's flag --app-engine): without one each attempt
// fails and says so. The first failure of a task and its giving up are logged, and
// Stats has the last failure of each queue. A full disk fails the calls that would
// change something, and changes nothing. Close ends deliveries in flight without
// recording a result.
package cloudtasks
