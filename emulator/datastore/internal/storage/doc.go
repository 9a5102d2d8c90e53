// Package storage keeps the entities of every database in memory, in ordered
// copy-on-write trees of rows, and writes each commit to the journal.
//
// Guarantees: a commit is applied as a whole or not at all; its record is in
// the journal before anyone can read it; versions are microseconds and never
// go back, whatever the clock does and across restarts; a View that was taken
// as a snapshot never changes. DB.At shows the state of every time of the last
// hour, as far as historyBytes of what commits replaced go back; a restart ends
// the past at the last checkpoint.
//
// Not guaranteed: isolation. Who may commit when is the business of package
// transactions, what a request means that of package protocol.
//
// Failure modes: when the journal refuses a record, the commit is refused and
// nothing has changed.
package storage
