// Package indexes knows which composite indexes there are, which ones a query
// needs, and what production recommends when they are missing.
//
// A query is reduced to shapes, one for each of its disjuncts: the properties
// with equalities and those that follow them in an index. Everything else is
// logic over shapes and definitions.
//
// Guarantees: which shapes need a composite index, which sets of indexes serve
// a shape together, and which index is recommended, is what Google's Datastore
// emulator answers when it requires indexes. An index is read in one direction
// only: (a, b desc) does not serve the order (a desc, b).
package indexes
