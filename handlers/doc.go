// Package handlers runs tasks: it receives the pushes of the queue, checks who
// pushes, and takes every delivery through lock, ledger, handler and commit.
//
// # Guarantees
//
// At-least-once delivery; at most one commit per execution (for HandleTx and
// HandleThen); an answer of 2xx only for what is finished, superseded or safely
// recorded. The only thing that decides is the ledger in Datastore: memcached
// merely filters duplicates before they cost a transaction.
//
// # Not guaranteed
//
// Order. That a handler runs once: only that it commits once.
//
// # Failure modes
//
// memcached down: deliveries go on, and duplicates are stopped by the ledger
// alone (or are refused, see [LockOutage]). Datastore down: deliveries answer
// 500 and count nothing. Worker killed: its deliveries come again. Handler
// failing: counted, retried with the class's backoff, then a dead letter that
// can be redriven.
package handlers
