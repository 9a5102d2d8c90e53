// Package planning turns a query into scans of index rows and runs them.
//
// A query is first checked and put into a normal form (Parse): disjuncts, each
// of them a conjunction of bounds on paths and values, and columns, which are
// the properties that decide the order of the results. All that a query could
// answer has a position in that order, which is one string: the values of the
// columns and the path. Index rows end with such strings.
//
// Each disjunct is a stream of results in the query's order:
//
//   - without columns, from the rows of its equalities, joined by a zig-zag
//     merge, or of the kind, or of the namespace: they come in the order of keys;
//   - from rows of composite indexes, joined likewise, that begin with the
//     equalities and end with the columns;
//   - with one column, from that property's rows, unless the equalities leave
//     so few candidates that sorting those is cheaper;
//   - otherwise the candidates are collected as in the first case, or from the
//     rows of an inequality, and sorted.
//
// Which composite indexes there are is not decided here: Demand asks whoever
// keeps them, and Run takes what the View has. An index that is missing costs
// time, and never changes an answer.
//
// The streams are merged, and what two of them have is shown once.
//
// Guarantees: results come in Datastore's order, an entity once, however many
// of its rows match (in a projection, once for each combination of values; with
// distinct_on, once for each combination whose first result it is); cursors are
// positions, which hold when rows come and go and mean the same to
// the reversed query; Scan covers, for each result that there is or could be,
// one row that appears, changes or goes with it.
//
// Where Google's documents and its emulator differ, the documents hold: an
// order by a property that equals one value is ignored, and an entity comes
// once.
package planning
