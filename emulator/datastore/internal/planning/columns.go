package planning

import (
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
)

// parseColumns derives the order of results: first the orders, then what
// distinct_on names, then the properties with inequalities, by name, and the key
// if it has one, then what is projected, by name, and the key as the
// tie-breaker. What no order names goes in the direction of the last order.
//
// An order by a property that equals one and the same value in all results is
// ignored, as documented, also where the property has other values besides.
func (q *Query) parseColumns(m *pb.Query, f *filterParser, all []conjunction) error {
	if slices.ContainsFunc(q.projection, f.hasEqual) {
		return invalid("Cannot use projection on a property with an equality filter.")
	}
	distinct, err := q.parseDistinct(m, f)
	if err != nil {
		return err
	}
	q.keyAt = -1
	desc := false
	var ordered []string
	for _, o := range m.GetOrder() {
		name := o.GetProperty().GetName()
		if err := checkName(name); err != nil {
			return err
		}
		if slices.Contains(ordered, name) {
			return invalid("order by clause cannot contain duplicate fields %s", name)
		}
		ordered = append(ordered, name)
		switch o.GetDirection() {
		case pb.PropertyOrder_DIRECTION_UNSPECIFIED, pb.PropertyOrder_ASCENDING:
			desc = false
		case pb.PropertyOrder_DESCENDING:
			desc = true
		default:
			return invalid("unknown order direction %d", o.GetDirection())
		}
		q.asked.Orders = append(q.asked.Orders, indexes.Property{Name: name, Desc: desc})
		if name == keyProperty {
			q.keyAt, q.keyDesc = len(q.columns), desc
			continue
		}
		if !sameEverywhere(name, all) {
			q.addColumn(name, desc)
		}
	}
	if err := checkGroups(ordered, distinct); err != nil {
		return err
	}
	add := func(names []string) {
		for _, name := range names {
			if !sameEverywhere(name, all) {
				q.addColumn(name, desc)
			}
		}
	}
	add(distinct)
	add(f.inequalities())
	if q.keyAt < 0 && f.keyInequality() {
		q.keyAt, q.keyDesc = len(q.columns), desc
	}
	add(slices.Sorted(slices.Values(q.projection)))
	q.asked.Kind, q.asked.Unequal, q.asked.Distinct, q.asked.Projected = q.kind, slices.Clip(f.inequalities()), distinct, q.projection
	q.distinct = len(distinct)
	if q.keyAt < 0 {
		q.keyAt, q.keyDesc = len(q.columns), desc
	}
	for _, name := range q.projection {
		q.projectedAt = append(q.projectedAt, q.column[name])
	}
	return nil
}

func (q *Query) addColumn(name string, desc bool) {
	if _, known := q.column[name]; known {
		return
	}
	if q.column == nil {
		q.column = map[string]int{}
	}
	q.column[name] = len(q.columns)
	prefix := encoding.PropertyPrefix(q.namespace, q.kind, name)
	q.columns = append(q.columns, column{name: name, desc: desc, prefix: prefix})
}

// sameEverywhere reports whether all disjuncts demand the same value of the
// property.
func sameEverywhere(name string, all []conjunction) bool {
	value := ""
	for _, c := range all {
		own := ""
		for _, t := range c {
			if t.name == name && t.op == pb.PropertyFilter_EQUAL {
				own = t.values[0]
				break
			}
		}
		if own == "" || value != "" && own != value {
			return false
		}
		value = own
	}
	return value != ""
}

func (q *Query) parseDistinct(m *pb.Query, f *filterParser) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	for _, p := range m.GetDistinctOn() {
		name := p.GetName()
		if err := checkName(name); err != nil {
			return nil, err
		}
		switch {
		case reserved(name):
			return nil, invalid("Group by is not supported for the property: %s", name)
		case seen[name]:
			return nil, invalid("Cannot group by a property multiple times.")
		case f.hasEqual(name):
			return nil, invalid("Cannot use group by on a property with an equality filter.")
		case q.kind == "":
			return nil, invalid("kind is required for projection: %s", name)
		}
		seen[name] = true
		names = append(names, name)
	}
	return names, nil
}

// checkGroups checks that no other order comes before one of distinct_on's.
func checkGroups(ordered, distinct []string) error {
	if len(distinct) == 0 {
		return nil
	}
	left := len(distinct)
	for _, name := range ordered {
		if left == 0 {
			break
		}
		if !slices.Contains(distinct, name) {
			return invalid("All group by properties must be ordered before any non group by properties.")
		}
		left--
	}
	return nil
}
