package planning

import (
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// Counting by looking at entities goes all over the memory. The rows of a
// property's values lie side by side and name their entities, so it is often
// cheaper to gather the entities of each of several conditions, and to count
// those that meet all of them, without looking at any.

// condition is rows of a property, of which an entity must have one.
type condition struct {
	ranges  []bounds // of whole rows
	rows    int
	repeats bool // an entity may have several
}

// rowsPerLook is how many rows can be gathered while looking at one entity.
const rowsPerLook = 8

// conditions is the disjunct as conditions, the one with the fewest rows first,
// and how many rows they have; ok is false when they don't say all of it.
func (c *counter) conditions(d *disjunct) (all []condition, rows int, ok bool) {
	if c.q.kind == "" || len(c.q.projection) > 0 || !d.paths.free() {
		return nil, 0, false
	}
	count := func(ranges ...bounds) (n int) {
		for _, r := range ranges {
			n += c.view.Count(r.lo, r.hi)
		}
		return n
	}
	for _, e := range d.equal {
		own := bounds{e.prefix, e.prefix + above}
		all = append(all, condition{ranges: []bounds{own}, rows: count(own)})
	}
	kind := encoding.KindPrefix(c.q.namespace, c.q.kind)
	for i := range d.spans {
		s := &d.spans[i]
		if s.isConstant() {
			continue
		}
		x := condition{ranges: s.rows, rows: count(s.rows...), repeats: c.view.Repeats(c.q.columns[i].prefix)}
		if s.values.free() && !x.repeats && len(all) > 0 && x.rows == count(bounds{kind, kind + above}) {
			continue // every entity has the property
		}
		all = append(all, x)
	}
	for _, x := range all {
		rows += x.rows
	}
	slices.SortFunc(all, func(a, b condition) int { return a.rows - b.rows })
	return all, rows, len(all) > 0
}

type entities map[*storage.Entity]struct{}

// meet calls f once with each entity that meets all the conditions.
func (c *counter) meet(all []condition, f func(*storage.Entity)) {
	var in entities // nil: all
	for i, x := range all {
		last := i == len(all)-1
		var also entities
		if !last || x.repeats {
			also = make(entities, x.rows)
		}
		c.each(x, func(e *storage.Entity) {
			if in != nil {
				if _, met := in[e]; !met {
					return
				}
			}
			if also != nil {
				n := len(also)
				if also[e] = struct{}{}; len(also) == n {
					return
				}
			}
			if last {
				f(e)
			}
		})
		in = also
	}
}

// each calls f with the entities of the condition's rows.
func (c *counter) each(x condition, f func(*storage.Entity)) {
	for _, r := range x.ranges {
		c.view.Ascend(r.lo, r.hi, func(row storage.Row) bool {
			f(row.Entity)
			return true
		})
	}
}

// sets counts the results of the k-th disjunct that no earlier one has by
// gathering them, or returns false where that costs more than to look at what
// the stream's rows lead to, or where not all results are asked for.
func (c *counter) sets(s *stream, k int, apart bool) bool {
	own, rows, ok := c.conditions(s.d)
	if !ok {
		return false
	}
	var before [][]condition
	for i := 0; i < k && !apart; i++ {
		all, n, ok := c.conditions(&c.q.disjuncts[i])
		if !ok {
			return false
		}
		before, rows = append(before, all), rows+n
	}
	lead := s.join.rows(c.view)
	if lead == 0 || rows > rowsPerLook*lead || c.left < lead || c.leaps(s.d, rows/rowsPerLook) {
		return false
	}
	room := 0
	for _, all := range before {
		room += all[0].rows
	}
	counted := make(entities, room)
	for _, all := range before {
		c.meet(all, func(e *storage.Entity) { counted[e] = struct{}{} })
	}
	n := 0
	c.meet(own, func(e *storage.Entity) {
		if _, met := counted[e]; !met {
			n++
		}
	})
	c.add(n)
	s.join.done, s.join.scans[0].entries = true, rows
	return true
}

// leaps reports whether the disjunct has a join that gets over most of its rows, as
// far as so many steps tell.
func (c *counter) leaps(d *disjunct, most int) bool {
	p := c.q.plan(c.view, d, true)
	if len(p.join.scans) == 1 {
		return false
	}
	for p.join.entries() < most {
		if _, _, ok := p.join.next(); !ok {
			return true
		}
	}
	return false
}
