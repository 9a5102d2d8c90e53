// Package protocol serves google.datastore.v1 over gRPC: it checks requests,
// translates them for the rooms below (storage, planning, transactions) and
// words errors as production does.
//
// Guarantees: a request that is refused has changed nothing; what this version
// does not do is refused as Unimplemented, never ignored; every size is
// bounded (keys, values, entities, keys of a lookup, results of a batch, bytes
// of an answer).
package protocol
