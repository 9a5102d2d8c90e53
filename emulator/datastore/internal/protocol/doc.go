// Package protocol serves google.datastore.v1 over gRPC: it checks requests,
// translates them for the rooms below (storage, planning, transactions) and
// words errors as production does.
//
// Guarantees: a request that is refused has changed nothing; every field of a
// request that could change its answer does; every size is bounded (keys, values,
// entities, keys of a lookup, results of a batch, bytes of an answer).
package protocol
