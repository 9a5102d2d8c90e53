package planning

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
)

// Indexes knows the composite indexes in force.
type Indexes interface {
	// Set is what queries may rely on.
	Set() *indexes.Set
	// Missing is told of a conjunction that none of them serves: the index that
	// would is added, or the error refuses the query, or nothing happens.
	Missing(indexes.Query) error
}

// Demand asks for the composite indexes that q needs where Datastore does.
// Indexes may be built meanwhile, so nobody may have a View of the live state.
func (q *Query) Demand(in Indexes) error {
	for i := range q.disjuncts {
		wanted := q.wanted(&q.disjuncts[i])
		shape := wanted.Shape()
		if shape.BuiltIn() {
			continue
		}
		if _, served := in.Set().Serve(shape); served {
			continue
		}
		// Of all indexes that would do, the one whose rows come in q's order.
		exact := q.exact(wanted)
		if _, serves := indexes.NewSet(indexes.Recommend(exact.Shape())).Serve(shape); serves {
			wanted = exact
		}
		if err := in.Missing(wanted); err != nil {
			return err
		}
	}
	return nil
}

// exact is w with all that orders the results as orders.
func (q *Query) exact(w indexes.Query) indexes.Query {
	w.Orders = nil
	last := false // direction of keys in an index that doesn't name them
	for i := range q.columns[:q.keyAt] {
		c := &q.columns[i]
		last = c.desc
		w.Orders = append(w.Orders, indexes.Property{Name: c.name, Desc: c.desc})
	}
	if last != q.keyDesc {
		w.Orders = append(w.Orders, indexes.Property{Name: keyProperty, Desc: q.keyDesc})
	}
	return w
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
