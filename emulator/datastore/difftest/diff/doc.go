// Package diff finds out where servers of Datastore answer differently: it sends
// them the same scripts and compares what comes back.
//
// # Guarantees
//
// Every difference between our answer and another server's is either matched by
// exactly one entry of the table (Justified), or it is reported, with a script
// that was made as small as it can be and still shows it.
//
// # Not guaranteed
//
// That servers which agree are right.
package diff
