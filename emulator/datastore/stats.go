package datastore

// Stats is what the server has at hand and has done since it started.
type Stats struct {
	Kinds            []KindStats // in order of project, database, namespace and kind
	OpenTransactions int
	WaitingRequests  int              // for locks
	Commits          int64            // with or without a transaction
	Aborts           int64            // because of contention
	Expired          int64            // transactions that were idle or open for too long
	Calls            map[string]int64 // by RPC
}

// KindStats is the number of entities of a kind.
type KindStats struct {
	Project, Database, Namespace, Kind string
	Entities                           int
}

// Stats returns the figures of this moment.
func (s *Server) Stats() Stats {
	t := s.service.Transactions()
	st := Stats{
		OpenTransactions: t.Open, WaitingRequests: t.Waiting,
		Commits: t.Commits, Aborts: t.Aborts, Expired: t.Expired,
		Calls: s.service.Calls(),
	}
	for _, db := range s.store.All() {
		for _, k := range db.Kinds() {
			st.Kinds = append(st.Kinds, KindStats{
				Project: db.ID.Project, Database: db.ID.Database,
				Namespace: k.Namespace, Kind: k.Kind, Entities: k.Entities,
			})
		}
	}
	return st
}
