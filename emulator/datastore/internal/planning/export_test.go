package planning

import pb "cloud.google.com/go/datastore/apiv1/datastorepb"

// CursorAt is the cursor of a query after a result with the given values.
func CursorAt(m *pb.Query, path string, values ...string) []byte {
	q, err := Parse(&pb.PartitionId{ProjectId: "p", NamespaceId: "n"}, m, func(*pb.Key) error { return nil }, nil)
	if err != nil {
		panic(err)
	}
	var names []string
	for _, c := range q.columns {
		names = append(names, c.name)
	}
	at, err := q.placeCursor(names, values[:len(names)], path)
	if err != nil {
		panic(err)
	}
	return q.AppendCursor(nil, Hit{at: at})
}

// StartAgain is q's start cursor, written by q itself; false says that it has
// none.
func (q *Query) StartAgain() ([]byte, bool) {
	if q.start == nil {
		return nil, false
	}
	b := q.AppendCursor(nil, Hit{at: q.start.at})
	if q.start.far {
		b[1] = 1
	} else {
		b[1] = 0
	}
	return b, true
}

// Disjuncts is how many disjunctions the query's filter has.
func (q *Query) Disjuncts() int { return len(q.disjuncts) }
