package planning

import (
	"math"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// Count is the number of results of q, at most upTo (-1: no bound).
func (q *Query) Count(view storage.View, upTo int) (n int, scan Scan) {
	if q.limit >= 0 && (upTo < 0 || q.limit < upTo) {
		upTo = q.limit
	}
	if upTo < 0 {
		upTo = math.MaxInt
	}
	if q.distinct > 0 || q.end != nil || q.start != nil || len(q.projection) > 0 && len(q.disjuncts) > 1 {
		return q.countInOrder(view, upTo)
	}
	c := counter{q: q, view: view, left: upTo}
	if upTo < math.MaxInt-q.offset {
		c.left += q.offset
	}
	for k := range q.disjuncts {
		if c.left == 0 {
			break
		}
		c.disjunct(k)
	}
	return max(0, c.n-q.offset), c.scan
}

// countInOrder counts results where it matters in which order they come.
func (q *Query) countInOrder(view storage.View, upTo int) (n int, scan Scan) {
	bounded := *q
	bounded.limit = -1
	scan = bounded.Each(view, func(Hit) bool {
		if n < upTo {
			n++
		}
		return n < upTo
	})
	return n, scan
}

// counter counts results in any order.
type counter struct {
	q    *Query
	view storage.View
	n    int
	left int // how many more are asked for
	scan Scan
}

func (c *counter) add(n int) {
	n = min(n, c.left)
	c.n += n
	c.left -= n
}

// disjunct counts the results of the k-th disjunct that no earlier one has.
func (c *counter) disjunct(k int) {
	d := &c.q.disjuncts[k]
	s := &stream{q: c.q, plan: c.q.plan(c.view, d, true)}
	apart := c.apart(k)
	switch {
	case apart && s.exact && len(s.join.scans) == 1 && c.single(s):
		n := s.join.rows(c.view)
		s.join.done, s.join.scans[0].entries = true, n
		c.add(n)
	case c.sets(s, k, apart):
	case apart && s.exact && c.single(s):
		for c.left > 0 {
			if _, _, ok := s.join.next(); !ok {
				break
			}
			c.add(1)
		}
	default:
		c.entities(s, k)
	}
	c.scan = c.scan.with(s)
}

// single reports whether each row of a plan is a result of its own.
func (c *counter) single(s *stream) bool {
	if len(c.q.projection) > 0 {
		return true
	}
	for _, scan := range s.join.scans {
		switch {
		case scan.composite != nil:
			if scan.composite.Repeats() {
				return false
			}
		case scan.property != "" && !s.keyed() && c.view.Repeats(scan.prefix):
			return false
		}
	}
	return true
}

// keyed reports whether the rows come in the order of keys, one for an entity.
func (s *stream) keyed() bool {
	for i := range s.d.spans {
		if !s.d.spans[i].isConstant() {
			return false
		}
	}
	return true
}

// entities counts a disjunct's results by looking at what its rows lead to.
func (c *counter) entities(s *stream, k int) {
	seen := map[*storage.Entity]bool{} // those that may come again
	for c.left > 0 {
		row, _, ok := s.join.next()
		if !ok {
			return
		}
		s.looked++
		e := row.Entity
		path := e.Path()
		switch {
		case seen[e]:
		case !s.exact && !s.leadsTo(e, path), c.counted(k, e, path):
		case len(c.q.projection) > 0:
			c.q.combinations(s.d, e, path, func(string) { c.add(1) })
		default:
			c.add(1)
		}
		if e.Repeats() {
			seen[e] = true
		}
	}
}

// counted reports whether a disjunct before the k-th has the entity.
func (c *counter) counted(k int, e *storage.Entity, path string) bool {
	for i := range k {
		if c.q.disjuncts[i].accepts(c.q, e, path) {
			return true
		}
	}
	return false
}

// leadsTo reports whether a row of the entity among the plan's rows leads to a
// result.
func (s *stream) leadsTo(e *storage.Entity, path string) bool {
	return (s.paths || s.d.hasPath(path)) && (s.equal || s.d.hasEqual(e)) && s.d.hasColumns(s.q, e)
}

// accepts reports whether e is a result of the disjunct.
func (d *disjunct) accepts(q *Query, e *storage.Entity, path string) bool {
	return d.meets(e, path) && d.hasColumns(q, e)
}

// hasColumns reports whether e has a value within bounds for every column.
func (d *disjunct) hasColumns(q *Query, e *storage.Entity) bool {
	for i := range d.spans {
		if _, ok := d.spans[i].first(&q.columns[i], e); !ok {
			return false
		}
	}
	return true
}

// apart reports whether no entity has results in the k-th disjunct and in an
// earlier one: they want different values of a property of which no entity has
// several.
func (c *counter) apart(k int) bool {
	for i := range k {
		if !c.exclude(&c.q.disjuncts[i], &c.q.disjuncts[k]) {
			return false
		}
	}
	return true
}

func (c *counter) exclude(a, b *disjunct) bool {
	for _, x := range a.equal {
		for _, y := range b.equal {
			if x.name == y.name && x.value != y.value && !c.view.Repeats(encoding.PropertyPrefix(c.q.namespace, c.q.kind, x.name)) {
				return true
			}
		}
	}
	return false
}
