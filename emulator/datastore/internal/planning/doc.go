// Package planning turns a query into a scan of index rows and runs it.
//
// A query is first checked and put into a normal form (Parse): bounds on paths
// and values, and columns, which are the properties that decide the order of
// its results. Run then picks the rows to go through:
//
//   - without columns, those of the most selective equality, or else of the
//     kind, or of the namespace: they come in the order of keys;
//   - with one column, that property's rows, which come in order, unless the
//     equalities leave so few candidates that sorting those is cheaper;
//   - otherwise the candidates are collected as above and sorted.
//
// Guarantees: results come in Datastore's order, an entity once, however many
// of its rows match (in a projection, once for each combination of values);
// cursors are positions, which hold when rows come and go; Scan
// covers every row whose appearance or change could change the result.
//
// Not guaranteed: index definitions. Sorting replaces composite indexes, at a
// cost that grows with the number of candidates.
package planning
