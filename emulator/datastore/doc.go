// Package datastore is a stand-in for Firestore in Datastore mode: the API
// google.datastore.v1 over gRPC, with serializable transactions and data that
// survives restarts, in one Go process.
//
// # Guarantees
//
//   - An acknowledged commit is there after kill -9 of the process when
//     Options.Dir is set, and after power loss with Options.Fsync "always".
//   - Read-write transactions are serializable; read-only ones see a snapshot.
//   - Commit versions are microseconds and never go back, not even when the
//     clock does between two runs.
//   - A request that is refused has changed nothing, and what this version
//     doesn't do is refused.
//
// # Not guaranteed
//
// All data is kept in memory. Composite indexes are not demanded; queries that
// need one in production sort instead. Past versions are not kept, so reads at
// a past read_time are refused.
//
// # Failure modes
//
// A client that dies in a read-write transaction leaves its locks behind until
// Options.TransactionIdle has passed. When the disk is full, commits fail and
// reads go on.
package datastore
