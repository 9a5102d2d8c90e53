// Package statistics computes the entities of Datastore's statistics kinds,
// __Stat_Total__, __Stat_Kind__ and so on, from the entities of a database.
//
// Guarantees: sizes follow Google's published rules for keys, properties,
// entities and index entries; figures are those of one state, and each set has
// one timestamp. A Keeper's set is at most MaxAge behind the database.
//
// Not guaranteed: what Google doesn't publish. Here the name of a list counts
// with its first value, and an embedded entity (of the type "EmbeddedEntity")
// without its properties, which count under their dotted names; strings and
// blobs excluded from indexes are of the types "Text" and "Blob", and a vector is
// one value of the type "Vector". A database
// without entities has no statistics, one without namespaces no namespace
// specific ones. Statistics entities don't count themselves, and when an index
// was last used is not recorded.
package statistics
