package planning

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
)

// Indexes knows the composite indexes in force.
type Indexes interface {
	// Missing is asked about each conjunction. If no index serves it, the one
	// that would is added, or the error refuses the query, or nothing happens.
	Missing(indexes.Query) error
}

// Demand asks for the composite indexes that q needs where Datastore does.
// Indexes may be built meanwhile, so nobody may have a View of the live state.
func (q *Query) Demand(in Indexes) error {
	for i := range q.disjuncts {
		if err := in.Missing(q.wanted(&q.disjuncts[i])); err != nil {
			return err
		}
	}
	return nil
}

// wanted is what a disjunct asks of the indexes.
func (q *Query) wanted(d *disjunct) indexes.Query {
	w := q.asked
	w.Ancestor = d.ancestor != ""
	for _, t := range d.terms {
		switch {
		case t.op == pb.PropertyFilter_EQUAL:
			w.Equal = append(w.Equal, t.name)
		case t.inequality() && t.name == keyProperty:
			w.Unequal = append(w.Unequal, t.name)
		}
	}
	return w
}
