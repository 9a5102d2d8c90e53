// Package admin serves google.datastore.admin.v1 and the long-running operations
// of which it consists.
//
// # Guarantees
//
//   - An export has the entities of one moment. Its overall metadata is written
//     last, so an export that ended early can't be taken for a whole one; an
//     operation that fails or is cancelled removes what it has written.
//   - An import reads all metadata before it writes an entity, and commits in
//     batches of MaxBatch entities. Its identifiers are never handed out again.
//     When it fails, the error says how many entities are there already: those
//     before the one that it names, file by file.
//   - Nothing outside the export folder is read or written, whatever a request
//     says.
//
// # Not guaranteed
//
// Operations are kept in memory: a restart forgets them and what they were
// doing. An import doesn't delete what is not in the export, and others see it
// batch by batch, as in production.
package admin
