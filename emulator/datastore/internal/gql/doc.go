// Package gql parses GQL, the SQL-like language of Datastore, into the queries
// and aggregation queries that it stands for, with all bindings resolved.
//
// Guarantees: the grammar, the keywords and the literals are those of Google's
// GQL reference; what the reference leaves open is as Google's emulators have
// it, and so are the texts of errors, up to the list of what was expected. The
// first rule that a query breaks, read from left to right, is the one that its
// error states. Work and memory are linear in the size of the query and its
// bindings: query strings are at most 1 MiB long, parentheses are at most 100
// deep, and a query may not become larger than a request that sends it
// directly, however often it names a binding.
//
// Not guaranteed: that a query can be run. Rules that hold for every query
// (operators and their values, properties, keys, limits on filters) are
// checked where queries are planned.
package gql
