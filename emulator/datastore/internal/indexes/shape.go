package indexes

import "slices"

// Query is what one conjunction asks for, in terms of properties. Names may
// repeat.
type Query struct {
	Kind     string // "": a query without a kind
	Ancestor bool

	Equal   []string // properties with equality filters, __key__ among them
	Unequal []string // properties with inequality filters, __key__ among them
	Orders  []Property

	Distinct  []string
	Projected []string
}

// Shape is what a conjunction asks of the indexes: an index that serves it has
// properties of Equal in any order and direction, then exactly Ordered, then
// the groups of Free, each in any order and direction. A __key__ that would be
// the last of all, ascending, is left out.
type Shape struct {
	Kind     string
	Ancestor bool
	Equal    []string // sorted, unique
	Ordered  []Property
	Free     [][]string // each sorted; together with Ordered without repetition
}

// Shape reduces q to what matters for indexes.
//
//   - An order by a property with an equality orders nothing, unless there is an
//     inequality on the property too; an order after __key__ orders nothing; with
//     an equality on __key__ no order does.
//   - An inequality without an order leaves the direction open, and several of
//     them their sequence.
//   - An equality on __key__ alone asks nothing of the indexes; beside an
//     inequality or a projection it is a property like others.
func (q Query) Shape() Shape {
	s := Shape{Kind: q.Kind, Ancestor: q.Ancestor, Equal: sorted(q.Equal)}
	if q.Kind == "" {
		return s
	}
	oneKey := slices.Contains(s.Equal, KeyProperty)
	taken := func(name string) bool {
		return slices.ContainsFunc(s.Ordered, func(p Property) bool { return p.Name == name }) ||
			slices.ContainsFunc(s.Free, func(group []string) bool { return slices.Contains(group, name) })
	}
	for _, o := range q.Orders {
		if oneKey {
			if !slices.Contains(q.Unequal, o.Name) {
				continue
			}
		} else if slices.Contains(s.Equal, o.Name) && !slices.Contains(q.Unequal, o.Name) {
			continue
		}
		if !taken(o.Name) {
			s.Ordered = append(s.Ordered, o)
		}
		if o.Name == KeyProperty {
			break
		}
	}
	add := func(names []string, skip func(string) bool) {
		group := slices.DeleteFunc(sorted(names), func(name string) bool { return taken(name) || skip(name) })
		if len(group) > 0 {
			s.Free = append(s.Free, group)
		}
	}
	isKey := func(name string) bool { return name == KeyProperty }
	equalOrKey := func(name string) bool { return isKey(name) || slices.Contains(s.Equal, name) }
	unequalKey := slices.ContainsFunc(q.Unequal, isKey) && !oneKey
	add(q.Unequal, isKey)
	if unequalKey {
		add([]string{KeyProperty}, func(string) bool { return false })
	}
	add(q.Distinct, equalOrKey)
	add(q.Projected, equalOrKey)

	// The key comes last by itself.
	if n := len(s.Free); n > 0 && slices.Equal(s.Free[n-1], []string{KeyProperty}) {
		s.Free = s.Free[:n-1]
	}
	if n := len(s.Ordered); n > 0 && len(s.Free) == 0 && s.Ordered[n-1] == (Property{Name: KeyProperty}) {
		s.Ordered = s.Ordered[:n-1]
	}
	if oneKey && len(s.Ordered)+len(s.Free) == 0 {
		s.Equal = slices.DeleteFunc(s.Equal, isKey)
	}
	return s
}

// simple spots the commonest of the queries that need no composite index.
func (q Query) simple() bool {
	return q.Kind == "" || len(q.Orders)+len(q.Unequal)+len(q.Distinct)+len(q.Projected) == 0
}

// Strict returns a shape for those indexes alone whose rows come in one certain
// order: that of Ordered, then Free ascending and by name.
func (s Shape) Strict() Shape {
	s.Ordered, s.Free = s.last(), nil
	return s
}

// follow is how many properties come after the equalities.
func (s Shape) follow() int {
	n := len(s.Ordered)
	for _, group := range s.Free {
		n += len(group)
	}
	return n
}

// last is the properties after the equalities, the free ones ascending.
func (s Shape) last() []Property {
	last := slices.Clone(s.Ordered)
	for _, group := range s.Free {
		for _, name := range group {
			last = append(last, Property{Name: name})
		}
	}
	return last
}

// BuiltIn tells whether the indexes that are always there serve s: the one of
// the kind, the one of a property in either direction, or several of those
// merged.
func (s Shape) BuiltIn() bool {
	switch n := s.follow(); {
	case s.Kind == "" || n == 0:
		return true
	case n > 1 || len(s.Equal) > 0 || s.Ancestor:
		return false
	}
	return len(s.Ordered) == 0 || s.Ordered[0].Name != KeyProperty
}

// Recommend returns the one index that serves s best: the equalities by name,
// then what must follow them.
func Recommend(s Shape) Definition {
	d := Definition{Kind: s.Kind, Ancestor: s.Ancestor}
	for _, name := range s.Equal {
		d.Properties = append(d.Properties, Property{Name: name})
	}
	d.Properties = append(d.Properties, s.last()...)
	return d
}

// A MissingError says that a query needs an index that isn't there.
type MissingError struct{ Recommended Definition }

// Error is production's text.
func (e *MissingError) Error() string {
	return "no matching index found. recommended index is:\n" + e.Recommended.Text()
}

func sorted(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
