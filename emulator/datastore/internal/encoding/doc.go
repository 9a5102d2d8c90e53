// Package encoding turns Datastore keys, property values and whole entities
// into byte strings whose bytewise order is Datastore's order, and back.
//
// Guarantees: comparing two encodings of a type with bytes.Compare compares
// the things themselves; every encoding ends itself, so that a concatenation
// of encodings orders like the tuple of its parts; a complemented encoding
// orders the other way round.
//
// Rows. A stored entity has one entity row, one kind row and one row for each
// distinct indexed (property, value):
//
//	E namespace path
//	K namespace kind path
//	P namespace kind property value path
//
// One ordered tree of such rows answers lookups, kind scans, single-property
// scans in either direction and, merged, conjunctions of equalities.
//
// Not guaranteed: the row format is not written to disk, so it may change
// from one version to the next.
package encoding
