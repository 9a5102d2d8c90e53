package planning

import (
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

const keyProperty = "__key__"

// Query is a query in normal form.
type Query struct {
	project, namespace, kind string

	paths   bounds   // on the encoded path: ancestor and __key__ filters
	equal   []string // row prefixes of the equalities, value included
	columns []column // in order of precedence
	keyAt   int      // how many columns count before the key
	keyDesc bool

	start, end *cursor
	offset     int
	limit      int // -1: none

	keysOnly   bool
	projection []string // property names, in the order asked for
}

// bounds is the interval [lo, hi) of strings; hi "" has no bound.
type bounds struct{ lo, hi string }

func (b *bounds) atLeast(lo string) { b.lo = max(b.lo, lo) }

func (b *bounds) below(hi string) {
	if b.hi == "" || hi < b.hi {
		b.hi = hi
	}
}

func (b bounds) contains(s string) bool { return s >= b.lo && (b.hi == "" || s < b.hi) }

func (b bounds) free() bool { return b.lo == "" && b.hi == "" }

// column is a property that decides the order, or whose inequality or
// projection needs a value.
type column struct {
	name   string
	desc   bool
	prefix string // of its rows
	values bounds // as whole rows
}

// Invalid is an error about a query that Datastore would refuse as well.
type Invalid string

func (e Invalid) Error() string { return string(e) }

// Unsupported is an error about a query that this version can't run.
type Unsupported string

func (e Unsupported) Error() string {
	return string(e) + " not supported by this emulator yet"
}

func invalid(format string, args ...any) error { return Invalid(texts.Sprintf(format, args...)) }

// KeyCheck validates a key of a filter against the request's partition.
type KeyCheck func(*pb.Key) error

// Parse checks q, which belongs to the given partition, and brings it into
// normal form. checkKey validates the keys in its filters.
func Parse(p *pb.PartitionId, q *pb.Query, checkKey KeyCheck) (*Query, error) {
	out := &Query{project: p.GetProjectId(), namespace: p.GetNamespaceId(), limit: -1}
	if err := out.parseShape(q); err != nil {
		return nil, err
	}
	parser := filterParser{q: out, checkKey: checkKey}
	if err := parser.filter(q.GetFilter(), 0); err != nil {
		return nil, err
	}
	if err := out.parseColumns(q, &parser); err != nil {
		return nil, err
	}
	var err error
	if out.start, err = out.parseCursor(q.GetStartCursor()); err != nil {
		return nil, err
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
	case len(kinds) == 1:
		q.kind = kinds[0].GetName()
		switch q.kind {
		case "__kind__", "__namespace__", "__property__":
			return Unsupported(texts.Sprintf("queries of the metadata kind %q are", q.kind))
		}
	}
	if len(m.GetDistinctOn()) > 0 {
		return Unsupported("distinct_on is")
	}
	if m.GetFindNearest() != nil {
		return Unsupported("find_nearest is")
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
	for _, p := range m.GetProjection() {
		name := p.GetProperty().GetName()
		switch {
		case name == "":
			return invalid("The property.name is the empty string.")
		case name == keyProperty:
		case slices.Contains(q.projection, name):
			return invalid("duplicate projection: %s", name)
		default:
			q.projection = append(q.projection, name)
		}
	}
	q.keysOnly = len(m.GetProjection()) > 0 && len(q.projection) == 0
	if len(q.projection) > 0 && q.kind == "" {
		return invalid("kind is required for projection: %s", q.projection[0])
	}
	return nil
}

// parseColumns derives the order of results from orders, inequality and
// projection: first the orders, then the inequality's property, then what is
// projected, by name, and the key as the tie-breaker in the direction of the
// last order.
func (q *Query) parseColumns(m *pb.Query, f *filterParser) error {
	q.keyAt = -1
	desc := false
	add := func(name string, desc bool) {
		for _, c := range q.columns {
			if c.name == name {
				return
			}
		}
		prefix := encoding.PropertyPrefix(q.namespace, q.kind, name)
		c := column{name: name, desc: desc, prefix: prefix}
		c.values = bounds{prefix, encoding.PrefixEnd(prefix)}
		if name == f.inequality {
			c.values = f.values
		}
		q.columns = append(q.columns, c)
	}
	for _, name := range q.projection {
		if slices.Contains(f.equalNames, name) {
			return invalid("Cannot use projection on a property with an equality filter.")
		}
	}
	ordered := map[string]bool{}
	for _, o := range m.GetOrder() {
		name := o.GetProperty().GetName()
		if name == "" {
			return invalid("The property.name is the empty string.")
		}
		if ordered[name] {
			return invalid("order by clause cannot contain duplicate fields %s", name)
		}
		ordered[name] = true
		switch o.GetDirection() {
		case pb.PropertyOrder_DIRECTION_UNSPECIFIED, pb.PropertyOrder_ASCENDING:
			desc = false
		case pb.PropertyOrder_DESCENDING:
			desc = true
		default:
			return invalid("unknown order direction %d", o.GetDirection())
		}
		if q.kind == "" && (name != keyProperty || desc) {
			return invalid("kind is required for all orders except __key__ ascending")
		}
		if name == keyProperty {
			q.keyAt, q.keyDesc = len(q.columns), desc
			continue
		}
		if slices.Contains(f.equalNames, name) {
			continue // one value, or any of several: it doesn't order
		}
		add(name, desc)
	}
	if f.inequality != "" {
		add(f.inequality, desc)
	}
	for _, name := range slices.Sorted(slices.Values(q.projection)) {
		add(name, false)
	}
	if q.keyAt < 0 {
		q.keyAt = len(q.columns)
		if q.keyAt > 0 {
			q.keyDesc = q.columns[q.keyAt-1].desc
		}
		if len(q.projection) > 0 && len(m.GetOrder()) > 0 {
			q.keyDesc = desc
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

// filterParser collects the conjunction of a query's filters.
type filterParser struct {
	q          *Query
	checkKey   KeyCheck
	equalNames []string
	inequality string // the property with inequalities, never __key__
	values     bounds // on its rows
}

// maxFilterDepth bounds the nesting of composite filters.
const maxFilterDepth = 30

func (p *filterParser) filter(f *pb.Filter, depth int) error {
	if f == nil {
		return nil
	}
	if depth > maxFilterDepth {
		return invalid("filters are nested at most %d deep", maxFilterDepth)
	}
	switch t := f.GetFilterType().(type) {
	case *pb.Filter_CompositeFilter:
		subs := t.CompositeFilter.GetFilters()
		if len(subs) == 0 {
			return invalid("A composite filter must have at least one sub-filter.")
		}
		switch t.CompositeFilter.GetOp() {
		case pb.CompositeFilter_AND:
		case pb.CompositeFilter_OR:
			if len(subs) > 1 {
				return Unsupported("the composite filter OR is")
			}
		default:
			return invalid("a composite filter must specify an operator")
		}
		for _, sub := range subs {
			if err := p.filter(sub, depth+1); err != nil {
				return err
			}
		}
		return nil
	case *pb.Filter_PropertyFilter:
		return p.property(t.PropertyFilter)
	}
	return invalid("a filter must be a composite filter or a property filter")
}

func (p *filterParser) property(f *pb.PropertyFilter) error {
	name, op := f.GetProperty().GetName(), f.GetOp()
	if name == "" {
		return invalid("The property.name is the empty string.")
	}
	switch op {
	case pb.PropertyFilter_OPERATOR_UNSPECIFIED:
		return invalid("a property filter must specify an operator")
	case pb.PropertyFilter_IN, pb.PropertyFilter_NOT_IN, pb.PropertyFilter_NOT_EQUAL:
		return Unsupported(texts.Sprintf("the filter operator %s is", op))
	case pb.PropertyFilter_HAS_ANCESTOR, pb.PropertyFilter_EQUAL,
		pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL,
		pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
	default:
		return invalid("unknown filter operator %d", op)
	}
	if op == pb.PropertyFilter_HAS_ANCESTOR {
		if _, ok := f.GetValue().GetValueType().(*pb.Value_KeyValue); !ok {
			return invalid("HAS_ANCESTOR requires a key value")
		}
		if name != keyProperty {
			return invalid("property must be __key__")
		}
	}
	if name == keyProperty {
		return p.key(op, f.GetValue())
	}
	if p.q.kind == "" {
		return invalid("kind is required for filter: %s", name)
	}
	prefix := encoding.PropertyPrefix(p.q.namespace, p.q.kind, name)
	row, ok := encoding.AppendValue([]byte(prefix), f.GetValue(), p.q.project)
	if !ok {
		switch f.GetValue().GetValueType().(type) {
		case *pb.Value_ArrayValue:
			return invalid("A list value is not allowed")
		case *pb.Value_EntityValue:
			return invalid("An entity value is not allowed")
		}
		return invalid("The value %q does not contain a value.", name)
	}
	at := string(row)
	if op == pb.PropertyFilter_EQUAL {
		p.equalNames = append(p.equalNames, name)
		if !slices.Contains(p.q.equal, at) {
			p.q.equal = append(p.q.equal, at)
		}
		return nil
	}
	if p.inequality == "" {
		p.inequality = name
		p.values = bounds{prefix, encoding.PrefixEnd(prefix)}
	}
	if p.inequality != name {
		return Unsupported(texts.Sprintf("inequality filters on several properties (%s and %s) are", p.inequality, name))
	}
	p.values.compare(op, at, encoding.PrefixEnd(at))
	return nil
}

// compare narrows b to what stands in the relation op to the values that start
// at lo and end before hi.
func (b *bounds) compare(op pb.PropertyFilter_Operator, lo, hi string) {
	switch op {
	case pb.PropertyFilter_LESS_THAN:
		b.below(lo)
	case pb.PropertyFilter_LESS_THAN_OR_EQUAL:
		b.below(hi)
	case pb.PropertyFilter_GREATER_THAN:
		b.atLeast(hi)
	case pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
		b.atLeast(lo)
	case pb.PropertyFilter_EQUAL:
		b.atLeast(lo)
		b.below(hi)
	}
}

func (p *filterParser) key(op pb.PropertyFilter_Operator, v *pb.Value) error {
	kv, ok := v.GetValueType().(*pb.Value_KeyValue)
	if !ok {
		return invalid("__key__ filter value must be a Key")
	}
	k := kv.KeyValue
	if err := p.checkKey(k); err != nil {
		return err
	}
	if ns := k.GetPartitionId().GetNamespaceId(); ns != p.q.namespace {
		return invalid("The query namespace is %q but the key of a filter has the namespace %q.", p.q.namespace, ns)
	}
	if op == pb.PropertyFilter_HAS_ANCESTOR {
		prefix := string(encoding.AppendPathPrefix(nil, k))
		p.q.paths.atLeast(prefix)
		p.q.paths.below(encoding.PrefixEnd(prefix))
		return nil
	}
	path := string(encoding.AppendPath(nil, k))
	p.q.paths.compare(op, path, path+"\x00")
	return nil
}

// lastKind is the kind of the entity at the end of a path.
func lastKind(path []*pb.Key_PathElement) string { return path[len(path)-1].GetKind() }
