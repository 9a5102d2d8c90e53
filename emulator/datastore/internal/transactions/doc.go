// Package transactions makes the read-write transactions of one database
// serializable, by locks or by validation.
//
// # Pessimistic mode (the default)
//
// A read in a read-write transaction locks the keys that it looked up and the
// index intervals that it scanned, each for one transaction at a time, until
// the transaction ends. Commits, those outside transactions included, wait for
// the locks of others on what they write. Who must wait stands in line behind
// older requests; an older transaction (by its first attempt, which
// previous_transaction names) goes first. A deadlock is seen when its last
// request arrives, and its youngest transaction is aborted at once. Nothing
// else aborts: there is no lock time-out. (Google documents shared read locks,
// whose upgrades it resolves by aborting; here readers take turns, so a
// read-modify-write under contention becomes a queue without aborts.)
//
// # Optimistic mode
//
// A transaction reads from a snapshot and never waits; its commit is refused
// when any key or interval that it read has changed since.
//
// Guarantees, in both modes: committed read-write transactions are
// serializable, phantoms included; read-only transactions see one snapshot, of
// their beginning; a transaction never sees its own writes before the commit; a
// request whose context has ended before its turn is never carried out.
//
// Failure modes: a client that dies keeps its locks until the transaction has
// been idle for Options.Idle or open for Options.Max.
package transactions
