// Package export writes and reads the files of Datastore's managed exports, so
// that data moves between this emulator, Google's, and production.
//
// An export is a folder: NAME.overall_export_metadata lists the parts, one for
// each pair of a kind (or all) and a namespace (or all); a part's own metadata
// lists its output files, which hold the entities. Outputs and the overall
// metadata are logs in LevelDB's format, of records with checksums; an entity
// is a message EntityProto of App Engine's API version 3.
//
// # Guarantees
//
//   - What Write has written, Open and Entities read back equal, value by value
//     and in the order of array elements. So do Google's two emulators, except
//     that an array with indexed and unindexed elements puts the indexed ones
//     first there: that is how they read their own format.
//   - All access goes through the os.Root that is handed in.
//   - A damaged file is a *DamageError with the file and the offset of the record;
//     Open reads all metadata, so what it can't read is found before anything is
//     imported.
//   - Memory is bounded by one record, and a record by MaxRecord.
//
// # Not guaranteed
//
// The format has no room for meanings that entities of the present API can't
// have, nor for database identifiers: keys get the project and the database
// that they are read into. Nanoseconds are cut to microseconds, as they are
// when they are stored.
package export
