// Package metadata derives the entities of the metadata kinds, __namespace__,
// __kind__ and __property__, from the rows of a database.
//
// It seeks from one namespace, kind or property to the next, so the cost grows
// with how many of them there are, not with how many entities.
//
// Guarantees: the entities are what going through all entities would give: the
// namespaces with entities, the kinds with entities of a namespace, and their
// indexed properties; Ranges covers every row whose appearance or change could
// change the result, and hardly another.
package metadata
