package planning

import (
	"iter"
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// disjunct is one conjunction of filters, as bounds on index rows.
type disjunct struct {
	terms    conjunction
	paths    intervals // ancestor and __key__ filters
	ancestor string    // the path of the ancestor, without end mark; "": none
	keyed    bool      // there are __key__ filters besides
	equal    []equality
	spans    []span // one for each column of the query

	constants bool // some of the spans are constant
}

// equality is a property's value that an entity must have, perhaps among others.
type equality struct {
	name, value string
	prefix      string // of its rows, value included
}

// span is what a disjunct allows in a column.
type span struct {
	constant string    // an equality's value, which is the column's for all results; or else
	values   intervals // what one of the property's values must be in
	rows     []bounds  // the same as rows of the property
}

func (s *span) isConstant() bool { return s.constant != "" }

// bounds is the interval [lo, hi) of strings.
type bounds struct{ lo, hi string }

// newDisjunct makes bounds of a conjunction; false says that nothing meets it.
func (q *Query) newDisjunct(c conjunction) (disjunct, bool) {
	d := disjunct{terms: c, paths: everything(), spans: make([]span, len(q.columns))}
	values := map[string]intervals{}
	for _, t := range c {
		if t.never {
			return d, false
		}
		switch {
		case t.name == keyProperty:
			if t.op == pb.PropertyFilter_HAS_ANCESTOR {
				d.ancestor = t.values[0]
			} else {
				d.keyed = true
			}
			d.paths = d.paths.and(relation(t.op, t.values))
		case t.op == pb.PropertyFilter_EQUAL:
			prefix := encoding.PropertyPrefix(q.namespace, q.kind, t.name) + t.values[0]
			d.equal = append(d.equal, equality{name: t.name, value: t.values[0], prefix: prefix})
		default:
			if _, bound := values[t.name]; !bound {
				values[t.name] = everything()
			}
			values[t.name] = values[t.name].and(relation(t.op, t.values))
		}
	}
	if len(d.paths) == 0 {
		return d, false
	}
	for name, v := range values {
		if len(v) == 0 {
			return d, false
		}
		for _, e := range d.equal {
			if e.name == name && !v.contains(e.value) {
				return d, false // inequalities ask the same of it
			}
		}
	}
	for i, c := range q.columns {
		s := &d.spans[i]
		for _, e := range d.equal {
			if e.name == c.name && (!s.isConstant() || (e.value < s.constant) != c.desc) {
				s.constant, d.constants = e.value, true
			}
		}
		var bound bool
		if s.values, bound = values[c.name]; !bound {
			s.values = everything()
		}
		for _, v := range s.values {
			s.rows = append(s.rows, bounds{c.prefix + v.lo.String(), c.prefix + v.hi.String()})
		}
	}
	return d, true
}

// first is the value of the entity in the column: of several the one that the
// query meets first.
func (s *span) first(c *column, e *storage.Entity) (value string, ok bool) {
	if s.isConstant() {
		return s.constant, true
	}
	pick := e.First
	if c.desc {
		pick = e.Last
	}
	for n := range s.rows {
		if c.desc {
			n = len(s.rows) - 1 - n
		}
		if head, ok := pick(s.rows[n].lo, s.rows[n].hi); ok {
			return head[len(c.prefix):], true
		}
	}
	return "", false
}

// all yields the values of the entity in the column.
func (s *span) all(c *column, e *storage.Entity) iter.Seq[string] {
	return func(yield func(string) bool) {
		if s.isConstant() {
			yield(s.constant)
			return
		}
		for _, b := range s.rows {
			for head := range e.HeadsBetween(b.lo, b.hi) {
				if !yield(head[len(c.prefix):]) {
					return
				}
			}
		}
	}
}

// meets reports whether e has what d asks of keys and equalities.
func (d *disjunct) meets(e *storage.Entity, path string) bool {
	return d.hasPath(path) && d.hasEqual(e)
}

func (d *disjunct) hasPath(path string) bool {
	return d.paths.free() || d.paths.contains(path)
}

func (d *disjunct) hasEqual(e *storage.Entity) bool {
	return !slices.ContainsFunc(d.equal, func(eq equality) bool { return !e.Has(eq.prefix) })
}
