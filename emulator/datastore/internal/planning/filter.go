package planning

import (
	"slices"
	"strconv"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// term is one filter on one property. IN has become a disjunction of EQUALs.
type term struct {
	name   string
	op     pb.PropertyFilter_Operator
	values []string // in index form, __key__'s as paths; several for NOT_IN
	never  bool     // it compares with what no row holds
}

func (t *term) inequality() bool {
	return t.op != pb.PropertyFilter_EQUAL && t.op != pb.PropertyFilter_HAS_ANCESTOR
}

// filterParser reads a query's filters.
type filterParser struct {
	q                    *Query
	checkKey, checkValue KeyCheck

	terms []*term
	index map[string]int // of a term by what it says

	orders      int  // of the query
	filters     int  // distinct ones, an IN being one; without ancestors
	ancestors   int  // distinct ones
	disjunctive bool // there is an OR or IN
	notEqual    int  // how many NOT_EQUAL and NOT_IN there are
	notIn       bool
}

// parse returns the disjunctions of all filters; without filters one that
// everything meets.
func (p *filterParser) parse(f *pb.Filter) ([]conjunction, error) {
	if f == nil {
		return []conjunction{{}}, p.checkParts()
	}
	p.index = map[string]int{}
	n, err := p.filter(f, 0)
	if err != nil {
		return nil, err
	}
	if err := p.checkParts(); err != nil {
		return nil, err
	}
	sets, err := n.normal()
	if err != nil {
		return nil, err
	}
	if err := p.checkAncestors(sets); err != nil {
		return nil, err
	}
	switch {
	case p.notEqual > 1:
		return nil, invalid("Only a single 'NOT_EQUAL' or 'NOT_IN' is allowed per query.")
	case p.notIn && p.disjunctive:
		return nil, invalid("'NOT_IN' cannot be used in the same query with 'IN' or 'OR'.")
	}
	if inequalities := p.inequalities(); len(inequalities) > maxInequalities {
		return nil, invalid("The query contains %d distinct inequality fields: [%s]. A query may not have more than %d distinct inequality fields.",
			len(inequalities), strings.Join(inequalities, ", "), maxInequalities)
	}
	all := make([]conjunction, len(sets))
	for i, set := range sets {
		for _, t := range set {
			all[i] = append(all[i], p.terms[t])
		}
	}
	return all, nil
}

func (p *filterParser) checkParts() error {
	if p.filters+p.orders+p.ancestors <= maxParts {
		return nil
	}
	ancestor := "no ancestor filter"
	if p.ancestors > 0 {
		ancestor = "an ancestor filter"
	}
	return invalid("The query may not have more than %d filters + sort orders + ancestor total. Currently there are %d filters, %d sort orders, and %s.",
		maxParts, p.filters, p.orders, ancestor)
}

// inequalities is the sorted names of the properties with inequalities, but for
// __key__, which orders the results anyway.
func (p *filterParser) inequalities() []string {
	var names []string
	for _, t := range p.terms {
		if t.inequality() && t.name != keyProperty {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// keyInequality reports whether a filter bounds the keys.
func (p *filterParser) keyInequality() bool {
	return slices.ContainsFunc(p.terms, func(t *term) bool { return t.inequality() && t.name == keyProperty })
}

// hasEqual reports whether a filter says that the property equals something.
func (p *filterParser) hasEqual(name string) bool {
	return slices.ContainsFunc(p.terms, func(t *term) bool { return t.op == pb.PropertyFilter_EQUAL && t.name == name })
}

// checkAncestors checks that each disjunct has the same ancestor, or none.
func (p *filterParser) checkAncestors(sets [][]int) error {
	common := -1
	for i, set := range sets {
		own := -1
		for _, t := range set {
			if p.terms[t].op != pb.PropertyFilter_HAS_ANCESTOR {
				continue
			}
			if own >= 0 {
				return errAncestors
			}
			own = t
		}
		if i > 0 && own != common {
			return errAncestors
		}
		common = own
	}
	return nil
}

var errAncestors = Invalid("All disjunctions must have a common and unique ancestor constraint.")

func (p *filterParser) filter(f *pb.Filter, depth int) (node, error) {
	if depth > maxFilterDepth {
		return node{}, invalid("filters are nested at most %d deep", maxFilterDepth)
	}
	switch t := f.GetFilterType().(type) {
	case *pb.Filter_CompositeFilter:
		n := node{}
		switch t.CompositeFilter.GetOp() {
		case pb.CompositeFilter_AND:
			n.and = true
		case pb.CompositeFilter_OR:
			p.disjunctive = true
		case pb.CompositeFilter_OPERATOR_UNSPECIFIED:
			return node{}, invalid("a composite filter must specify an operator")
		default:
			return node{}, invalid("Unsupported CompositeFilter operator.")
		}
		if len(t.CompositeFilter.GetFilters()) == 0 {
			return node{}, invalid("A composite filter must have at least one sub-filter.")
		}
		for _, sub := range t.CompositeFilter.GetFilters() {
			s, err := p.filter(sub, depth+1)
			if err != nil {
				return node{}, err
			}
			n.subs = append(n.subs, s)
		}
		return n, nil
	case *pb.Filter_PropertyFilter:
		return p.property(t.PropertyFilter)
	}
	return node{}, invalid("a filter must have exactly one of its fields set")
}

func (p *filterParser) property(f *pb.PropertyFilter) (node, error) {
	name, op := f.GetProperty().GetName(), f.GetOp()
	if err := checkName(name); err != nil {
		return node{}, err
	}
	var values []*pb.Value
	switch op {
	case pb.PropertyFilter_OPERATOR_UNSPECIFIED:
		return node{}, invalid("a property filter must specify an operator")
	case pb.PropertyFilter_IN, pb.PropertyFilter_NOT_IN:
		var err error
		if values, err = listed(op, f.GetValue()); err != nil {
			return node{}, err
		}
	case pb.PropertyFilter_HAS_ANCESTOR:
		if _, ok := f.GetValue().GetValueType().(*pb.Value_KeyValue); !ok {
			return node{}, invalid("HAS_ANCESTOR requires a key value")
		}
		if name != keyProperty {
			return node{}, invalid("property must be __key__")
		}
		values = []*pb.Value{f.GetValue()}
	case pb.PropertyFilter_EQUAL, pb.PropertyFilter_NOT_EQUAL,
		pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL,
		pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
		if _, ok := f.GetValue().GetValueType().(*pb.Value_EntityValue); ok {
			return node{}, invalid("An entity value is not allowed")
		}
		values = []*pb.Value{f.GetValue()}
	default:
		return node{}, invalid("unknown filter operator %d", op)
	}
	if p.q.kind == "" && name != keyProperty {
		return node{}, invalid("kind is required for filter: %s", name)
	}
	encoded := make([]string, 0, len(values))
	for _, v := range values {
		e, err := p.value(name, op, v)
		if err != nil {
			return node{}, err
		}
		encoded = append(encoded, e)
	}
	before := len(p.terms)
	n := p.leaves(name, op, encoded)
	switch {
	case len(p.terms) == before:
	case op == pb.PropertyFilter_HAS_ANCESTOR:
		p.ancestors++
	default:
		p.filters++
	}
	return n, nil
}

// leaves makes terms of a filter: several of an IN.
func (p *filterParser) leaves(name string, op pb.PropertyFilter_Operator, values []string) node {
	switch op {
	case pb.PropertyFilter_IN:
		p.disjunctive = true
		n := node{}
		for _, v := range values {
			n.subs = append(n.subs, p.leaf(name, pb.PropertyFilter_EQUAL, v))
		}
		return n
	case pb.PropertyFilter_NOT_IN:
		p.notEqual++
		p.notIn = true
		slices.Sort(values)
		return p.leaf(name, op, slices.Compact(values)...)
	case pb.PropertyFilter_NOT_EQUAL:
		p.notEqual++
	}
	return p.leaf(name, op, values...)
}

// leaf is the node of a term; equal terms are one.
func (p *filterParser) leaf(name string, op pb.PropertyFilter_Operator, values ...string) node {
	var id []byte
	id = strconv.AppendInt(id, int64(op), 10)
	for _, s := range append([]string{name}, values...) {
		id = strconv.AppendInt(append(id, ' '), int64(len(s)), 10)
		id = append(append(id, ' '), s...)
	}
	i, known := p.index[string(id)]
	if !known {
		i = len(p.terms)
		p.index[string(id)] = i
		never := slices.Contains(values, "")
		p.terms = append(p.terms, &term{name: name, op: op, values: values, never: never && op == pb.PropertyFilter_EQUAL})
	}
	return node{term: i + 1}
}

// listed is the values of an IN or NOT_IN.
func listed(op pb.PropertyFilter_Operator, v *pb.Value) ([]*pb.Value, error) {
	list, ok := v.GetValueType().(*pb.Value_ArrayValue)
	if !ok {
		return nil, invalid("%s requires an ArrayValue.", op.String())
	}
	values := list.ArrayValue.GetValues()
	switch {
	case len(values) == 0:
		return nil, invalid("%s requires an non-empty ArrayValue.", op.String())
	case op == pb.PropertyFilter_IN && len(values) > maxIn:
		return nil, invalid("IN supports up to %d values. There are %d values in the IN filter in your query.", maxIn, len(values))
	case op == pb.PropertyFilter_NOT_IN && len(values) > maxNotIn:
		return nil, invalid("NOT_IN supports up to %d values.", maxNotIn)
	}
	for _, elem := range values {
		if _, nested := elem.GetValueType().(*pb.Value_ArrayValue); nested {
			return nil, invalid("list_value cannot contain a Value containing another list_value.")
		}
	}
	return values, nil
}

// value checks what a filter compares with and returns its index form; "" for
// entities in lists, which are equal to nothing.
func (p *filterParser) value(name string, op pb.PropertyFilter_Operator, v *pb.Value) (string, error) {
	if v.GetExcludeFromIndexes() {
		return "", invalid("a filter value must be indexed")
	}
	if name == keyProperty {
		return p.keyPath(op, v)
	}
	n := 0
	switch x := v.GetValueType().(type) {
	case *pb.Value_ArrayValue:
		return "", invalid("A list value is not allowed")
	case *pb.Value_EntityValue:
		return "", nil
	case *pb.Value_StringValue:
		n = len(x.StringValue)
	case *pb.Value_BlobValue:
		n = len(x.BlobValue)
	case *pb.Value_KeyValue:
		if p.checkValue == nil {
			break
		}
		if err := p.checkValue(x.KeyValue); err != nil {
			return "", err
		}
	}
	if n > maxIndexedLength {
		return "", invalid("The value of property %q is longer than %d bytes.", name, maxIndexedLength)
	}
	e, ok := encoding.AppendValue(nil, v, p.q.project)
	if !ok {
		return "", invalid("The value %q does not contain a value.", name)
	}
	return string(e), nil
}

// keyPath is the path of a key that __key__ is compared with; an ancestor's has
// no end mark, so that descendants' paths begin with it.
func (p *filterParser) keyPath(op pb.PropertyFilter_Operator, v *pb.Value) (string, error) {
	kv, ok := v.GetValueType().(*pb.Value_KeyValue)
	if !ok {
		return "", invalid("__key__ filter value must be a Key")
	}
	k := kv.KeyValue
	if err := p.checkKey(k); err != nil {
		return "", err
	}
	if ns := k.GetPartitionId().GetNamespaceId(); ns != p.q.namespace {
		what := "__key__ filter"
		if op == pb.PropertyFilter_HAS_ANCESTOR {
			what = "ancestor"
		}
		return "", invalid("The query namespace is '%s' but %s namespace is '%s'.", p.q.namespace, what, ns)
	}
	if op == pb.PropertyFilter_HAS_ANCESTOR {
		return string(encoding.AppendPathPrefix(nil, k)), nil
	}
	return string(encoding.AppendPath(nil, k)), nil
}
