// Package function is the worker as a Cloud Function: one HTTP function named
// Worker, which answers what `latchwork serve` answers on Cloud Run.
//
// It is the one importer of the Functions Framework. `make stage-function` makes
// the tree that is deployed from, with this package at the root of the module,
// where Cloud Functions wants it.
//
// # Guarantees
//
// Everything that handlers guarantees: the worker is the same. Its configuration is
// the environment, with `serve`'s names, defaults and checks. The framework gives
// each request CLOUD_RUN_TIMEOUT_SECONDS, and so does the worker.
//
// # Not guaranteed
//
// A graceful end. The framework's server has no shutdown: when an instance is
// stopped, the deliveries that run on it die with it, and the queue sends them
// again.
//
// # Failure modes
//
// A configuration that can't be: each request is answered with 500 and the text of
// what is wrong, which the log has once. The next request tries again, so that
// what was merely out of reach heals by itself.
package function
