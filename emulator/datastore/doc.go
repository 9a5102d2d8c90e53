// Package datastore is a stand-in for Firestore in Datastore mode: the API
// google.datastore.v1 over gRPC and over HTTP (JSON and protobuf) on one port,
// with serializable transactions and data that survives restarts, in one Go
// process.
//
// # Guarantees
//
//   - An acknowledged commit is there after kill -9 of the process when
//     Options.Dir is set, and after power loss with Options.Fsync "always".
//   - Read-write transactions are serializable; read-only ones see a snapshot.
//   - Commit versions are microseconds and never go back, not even when the
//     clock does between two runs. They and read times follow Options.Clock;
//     the limits of transactions are those of the processes that hold them, and
//     follow the machine's.
//   - A request that is refused has changed nothing, and what this version
//     doesn't do is refused.
//
// # Not guaranteed
//
// All data is kept in memory. All databases have the same composite indexes,
// which Options.Indexes and Options.IndexMode are about: by default queries are
// answered and the indexes that they lack are added. The past goes back an hour,
// as without point-in-time recovery, and to the newest 64 MiB of what commits
// replaced; a restart shortens it to the last checkpoint. Reading it takes time
// in proportion to the changes since.
//
// Searches for the nearest vectors go through all results of the query before
// them: no vector index is demanded, nor is there any. Statistics entities
// (__Stat_...__) are computed when somebody asks, in time proportional to the
// database, and may be five seconds old; transactions and past reads see the
// same ones.
//
// # Failure modes
//
// A client that dies in a read-write transaction leaves its locks behind until
// Options.TransactionIdle has passed. When the disk is full, commits fail with
// RESOURCE_EXHAUSTED and change nothing, and reads go on.
//
// Answers stay under 4 MiB, which is what gRPC clients take: a batch of a query
// ends early, a lookup defers the rest of its keys. Google's Go client, in a
// transaction with BeginLater whose first read is such a lookup, begins another
// transaction for the deferred keys and forgets it: their locks go after
// Options.TransactionIdle. Begin such transactions at once, or read less.
package datastore
