package planning

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
)

const keyProperty = "__key__"

// Query is a query in normal form.
type Query struct {
	project, namespace, kind string

	disjuncts []disjunct // an entity that meets one of them is a result
	columns   []column   // in order of precedence
	column    map[string]int
	keyAt     int // how many columns count before the key
	keyDesc   bool

	start, end *cursor
	offset     int
	limit      int // -1: none

	keysOnly   bool
	projection []string // property names, in the order asked for

	projectedAt []int // the columns of projection
	distinct    int   // results differ in the first so many columns; 0: all are shown

	asked      indexes.Query // what all disjuncts ask of the indexes
	cursorHead []byte        // what all its cursors begin with, but for the first two bytes
}

// column is a property that decides the order, or whose inequality or
// projection needs a value.
type column struct {
	name   string
	desc   bool
	prefix string // of its rows
}

// KeyCheck validates a key in a filter.
type KeyCheck func(*pb.Key) error

// Parse checks q, which belongs to the given partition, and brings it into
// normal form; its find_nearest, which comes after all else, is left to the
// caller. checkKey validates the keys that its filters compare __key__ with,
// checkValue those that they compare properties with; nil accepts all.
func Parse(p *pb.PartitionId, q *pb.Query, checkKey, checkValue KeyCheck) (*Query, error) {
	out := &Query{project: p.GetProjectId(), namespace: p.GetNamespaceId(), limit: -1}
	if err := out.parseShape(q); err != nil {
		return nil, err
	}
	f := filterParser{q: out, checkKey: checkKey, checkValue: checkValue, orders: len(q.GetOrder())}
	all, err := f.parse(q.GetFilter())
	if err != nil {
		return nil, err
	}
	if err := out.parseColumns(q, &f, all); err != nil {
		return nil, err
	}
	for _, c := range all {
		if d, ok := out.newDisjunct(c); ok {
			out.disjuncts = append(out.disjuncts, d)
		}
	}
	out.cursorHead = out.newCursorHead()
	if out.start, err = out.parseCursor(q.GetStartCursor()); err != nil {
		return nil, err
	}
	if out.start != nil && out.start.start {
		out.start = nil
	}
	out.end, err = out.parseCursor(q.GetEndCursor())
	return out, err
}

// parseShape reads everything but filters, columns and cursors.
func (q *Query) parseShape(m *pb.Query) error {
	switch kinds := m.GetKind(); {
	case len(kinds) > 1:
		return invalid("multiple kinds not supported")
	case len(kinds) == 1 && kinds[0].GetName() == "":
		return invalid("The kind is the empty string.")
	case len(kinds) == 1 && len(kinds[0].GetName()) > maxKindName:
		return invalid("The kind is longer than %d bytes.", maxKindName)
	case len(kinds) == 1:
		q.kind = kinds[0].GetName()
	}
	if m.GetOffset() < 0 {
		return invalid("Offset must be non-negative.")
	}
	q.offset = int(m.GetOffset())
	if l := m.GetLimit(); l != nil {
		if l.GetValue() < 0 {
			return invalid("Limit must be non-negative.")
		}
		q.limit = int(l.GetValue())
	}
	if len(m.GetProjection()) > maxProjected || len(m.GetDistinctOn()) > maxProjected {
		return invalid("a query projects, and groups by, at most %d properties", maxProjected)
	}
	projected := map[string]bool{}
	for _, p := range m.GetProjection() {
		name := p.GetProperty().GetName()
		if err := checkName(name); err != nil {
			return err
		}
		switch {
		case name == keyProperty:
			continue
		case reserved(name):
			return invalid("projections are not supported for the property: %s", name)
		case projected[name]:
			return invalid("Cannot project a property multiple times.")
		}
		projected[name] = true
		q.projection = append(q.projection, name)
	}
	q.keysOnly = len(m.GetProjection()) > 0 && len(q.projection) == 0
	if len(q.projection) > 0 && q.kind == "" {
		return invalid("kind is required for projection: %s", q.projection[0])
	}
	for _, o := range m.GetOrder() {
		if q.kind == "" && (o.GetProperty().GetName() != keyProperty || o.GetDirection() == pb.PropertyOrder_DESCENDING) {
			return invalid("kind is required for all orders except __key__ ascending")
		}
	}
	return nil
}

// ResultType is what the results of q hold.
func (q *Query) ResultType() pb.EntityResult_ResultType {
	switch {
	case q.keysOnly:
		return pb.EntityResult_KEY_ONLY
	case len(q.projection) > 0:
		return pb.EntityResult_PROJECTION
	}
	return pb.EntityResult_FULL
}

// Projection is the names of the projected properties.
func (q *Query) Projection() []string { return q.projection }

// lastKind is the kind of the entity at the end of a path.
func lastKind(path []*pb.Key_PathElement) string { return path[len(path)-1].GetKind() }
