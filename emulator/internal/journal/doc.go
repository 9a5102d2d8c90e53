// Package journal keeps one emulator's state on disk: an append-only log of
// records with checkpoints, in a data folder of its own.
//
// The state itself lives in the memory of the server that owns it. The server
// appends a record for every change before it answers, and hands every record
// back to itself when it opens the folder again.
//
// # Guarantees
//
//   - When Append returns nil, the record has been handed to the operating
//     system: it survives kill -9 of the process.
//   - When Synced.Wait has returned nil under fsync=always, the record is on
//     stable storage: it survives power loss. Concurrent waiters share one sync.
//   - When Append returns an error, the log is as it was before the call, or the
//     journal refuses every further append: a failed record is never replayed.
//   - Open replays exactly the appended records, in order, each once: the newest
//     complete checkpoint first, then the records appended after it.
//   - A crash at any step of a checkpoint loses nothing: the older files are
//     removed only after the new checkpoint is complete and synced.
//   - One process owns a folder; a second one gets an error that names it.
//
// # Not guaranteed
//
// With fsync=interval (the default) power loss may lose the last interval, with
// fsync=never anything that the operating system had not written yet. Records
// are neither compressed nor encrypted. Where there is no flock (Windows,
// Solaris, AIX) a second process is not kept out.
//
// # Failure modes
//
// The journal writes down each sync (a sync mark), so it can tell two kinds of
// damage apart. Damage after the last mark is what a power loss leaves behind:
// it is cut off and reported in the log. Damage before it means that data once
// on stable storage has changed: Open refuses the folder and says where.
// A mark stands behind what it covers, so a file that lost its end, the marks in
// it included, can't be told from one that was never synced, and one truncated
// to nothing can't be told from a new one: what is whole is replayed, a torn
// frame or header is cut off and reported, and a cut between two frames is not
// even seen. Only a mark in a later log file would give it away.
// A full disk fails the append that met it; appends work again once there is
// room. A failed sync can't be repeated safely (the operating system may have
// dropped the pages), so after one the journal refuses to append.
package journal
