package planning

import (
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// byComposite is the plan to join rows of composite indexes: each index begins
// with some of the equalities and ends with the columns that are left, and
// together they have all equalities and the ancestor.
func (q *Query) byComposite(view storage.View, d *disjunct) (plan, bool) {
	c := q.cover(view, d)
	if c.picked == 0 || len(c.open) > 0 || c.ancestor {
		return plan{}, false
	}
	p := plan{d: d, sorted: true, equal: true, paths: d.paths.free() || d.ancestor != "" && !d.keyed}
	within := d.paths
	column, ok := q.leading(d)
	if ok {
		within = d.spans[column].values
		if q.flipped(&q.columns[column]) {
			within = within.complement()
		}
	} else {
		p.paths = true
	}
	p.rest = q.rest(d, column)
	p.exact = p.paths && len(p.rest) == 0
	p.join = q.join(view, c.sources, within)
	return p, true
}

// leading is the column with which the rows' positions begin, unless that is
// the path.
func (q *Query) leading(d *disjunct) (column int, ok bool) {
	for i := range q.columns[:q.keyAt] {
		if !d.spans[i].isConstant() {
			return i, true
		}
	}
	return -1, false
}

// residual is a column whose bounds the interval of a scan doesn't imply.
type residual struct {
	column int
	values intervals // as they are in rows
}

// rest is the columns with bounds but for the leading one.
func (q *Query) rest(d *disjunct, leading int) []residual {
	var rest []residual
	for i := range d.spans {
		if s := &d.spans[i]; i != leading && !s.isConstant() && !s.values.free() {
			r := residual{column: i, values: s.values}
			if q.flipped(&q.columns[i]) {
				r.values = r.values.complement()
			}
			rest = append(rest, r)
		}
	}
	return rest
}

// within reports whether the rest of the columns of a row, whose suffix this is,
// are within their bounds.
func (p *plan) within(q *Query, suffix string) bool {
	rest := p.rest
	for i := 0; len(rest) > 0; i++ {
		if i == q.keyAt {
			suffix = suffix[encoding.EncodedPathLen(suffix):]
		}
		if p.d.spans[i].isConstant() {
			continue
		}
		n := encoding.EncodedLen(suffix, q.flipped(&q.columns[i]))
		if rest[0].column == i {
			if !rest[0].values.contains(suffix[:n]) {
				return false
			}
			rest = rest[1:]
		}
		suffix = suffix[n:]
	}
	return true
}

// cover is a choice of composite indexes for a disjunct.
type cover struct {
	sources  []source // their rows, equalities included
	picked   int
	open     []equality // those that no index has yet
	ancestor bool       // no index has the ancestor yet
}

// cover picks indexes, each in turn the one that has most of what is open.
func (q *Query) cover(view storage.View, d *disjunct) cover {
	c := cover{open: slices.Clone(d.equal), ancestor: d.ancestor != ""}
	if q.kind == "" {
		return c
	}
	var fit []*storage.Composite
	for _, x := range view.Composites(q.kind) {
		if q.fits(&x.Form, d) {
			fit = append(fit, x)
		}
	}
	for len(fit) > 0 {
		best, most := -1, 0
		for i, x := range fit {
			if n := c.gain(&x.Form, q.equalities(&x.Form, d)); n > most || n == most && best < 0 && c.picked == 0 {
				best, most = i, n
			}
		}
		if best < 0 {
			break
		}
		c.take(q, d, fit[best])
	}
	return c
}

// equalities is how many properties of the index come before the columns.
func (q *Query) equalities(form *encoding.Composite, d *disjunct) int {
	n := len(form.Properties)
	for i := range d.spans {
		if !d.spans[i].isConstant() {
			n--
		}
	}
	return n
}

// gain is how much of what is open the index has.
func (c *cover) gain(form *encoding.Composite, equalities int) (n int) {
	for _, p := range form.Properties[:equalities] {
		if slices.ContainsFunc(c.open, func(e equality) bool { return e.name == p.Name }) {
			n++
		}
	}
	if c.ancestor && form.Ancestor {
		n++
	}
	return n
}

// take picks the index: for each of its properties an open equality, or else one
// that another index has as well.
func (c *cover) take(q *Query, d *disjunct, index *storage.Composite) {
	form := &index.Form
	prefix := form.AppendPrefix(make([]byte, 0, 64), q.namespace)
	if form.Ancestor {
		prefix = append(append(prefix, d.ancestor...), 0, 0)
		c.ancestor = false
	}
	for i := range q.equalities(form, d) {
		same := func(e equality) bool { return e.name == form.Properties[i].Name }
		var e equality
		if n := slices.IndexFunc(c.open, same); n >= 0 {
			e = c.open[n]
			c.open = slices.Delete(c.open, n, n+1)
		} else {
			e = d.equal[slices.IndexFunc(d.equal, same)]
		}
		prefix = form.AppendValue(prefix, i, e.value)
	}
	c.sources = append(c.sources, source{prefix: string(prefix), composite: index})
	c.picked++
}

// fits reports whether the index begins with equalities and ends with the
// columns that are not constant.
func (q *Query) fits(form *encoding.Composite, d *disjunct) bool {
	n := q.equalities(form, d)
	if n < 0 || form.Ancestor && d.ancestor == "" {
		return false
	}
	for i, p := range form.Properties[:n] {
		if !slices.ContainsFunc(d.equal, func(e equality) bool { return e.name == p.Name }) ||
			slices.ContainsFunc(form.Properties[:i], func(o encoding.CompositeProperty) bool { return o.Name == p.Name }) {
			return false
		}
	}
	last, keyAt := form.Properties[n:], n
	for i := range d.spans {
		if d.spans[i].isConstant() {
			continue
		}
		if i < q.keyAt {
			keyAt++
		}
		column := &q.columns[i]
		if last[0].Name != column.name || last[0].Complemented != q.flipped(column) {
			return false
		}
		last = last[1:]
	}
	return form.KeyAt == keyAt
}
