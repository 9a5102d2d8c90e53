package planning

import (
	"cmp"
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// plan is where the results of one disjunct come from.
type plan struct {
	d    *disjunct
	join *join // of index rows

	// The rows end with positions, in the query's order; otherwise they only
	// lead to entities, whose positions must be collected and sorted.
	sorted bool
	exact  bool // each row is one result
	paths  bool // rows prove the path
	equal  bool // rows prove the equalities
	rest   []residual
}

// plan picks the rows to go through. Where the results are only counted, their
// order needs no index.
func (q *Query) plan(view storage.View, d *disjunct, counted bool) plan {
	if p, ok := q.byKey(view, d); ok {
		return p
	}
	if p, ok := q.byComposite(view, d); ok {
		return p
	}
	column, single := q.singleColumn(d)
	if single && len(d.equal) == 0 && d.ancestor == "" {
		return q.byColumn(view, d, column)
	}
	return q.search(view, d, column, single && !counted)
}

// byKey is the plan for results in the order of keys alone.
func (q *Query) byKey(view storage.View, d *disjunct) (plan, bool) {
	for i := range d.spans {
		if !d.spans[i].isConstant() {
			return plan{}, false
		}
	}
	p := plan{d: d, sorted: true, exact: true, paths: true, equal: true}
	if c := q.cover(view, d); len(c.sources) > 0 {
		for _, e := range c.open {
			c.sources = append(c.sources, source{prefix: e.prefix, property: e.name})
		}
		p.join = q.join(view, c.sources, d.paths)
	} else {
		p.join = q.candidates(view, d)
	}
	return p, true
}

// candidates is the rows, in the order of keys, of what meets the disjunct but
// for its inequalities on properties: those of the equalities joined, or those
// of the kind or of the namespace.
func (q *Query) candidates(view storage.View, d *disjunct) *join {
	var sources []source
	switch {
	case q.kind == "":
		sources = []source{{prefix: encoding.EntityPrefix(q.namespace)}}
	case len(d.equal) == 0:
		sources = []source{{prefix: encoding.KindPrefix(q.namespace, q.kind)}}
	default:
		for _, e := range d.equal {
			sources = append(sources, source{prefix: e.prefix, property: e.name})
		}
	}
	return q.join(view, sources, d.paths)
}

// singleColumn is the only column that isn't constant, if its property's rows
// come in the query's order.
func (q *Query) singleColumn(d *disjunct) (column int, ok bool) {
	column = -1
	for i := range d.spans {
		if d.spans[i].isConstant() {
			continue
		}
		if column >= 0 {
			return -1, false
		}
		column = i
	}
	return column, column < q.keyAt && !q.flipped(&q.columns[column])
}

// byColumn is the plan to go through the rows of one property.
func (q *Query) byColumn(view storage.View, d *disjunct, column int) plan {
	free := len(d.equal) == 0 && d.paths.free()
	return plan{
		d:      d,
		join:   q.join(view, []source{{prefix: q.columns[column].prefix, property: q.columns[column].name}}, d.spans[column].values),
		sorted: true,
		exact:  free,
		paths:  d.paths.free(),
		equal:  len(d.equal) == 0,
	}
}

// search is the plan where no index gives the order: the smallest set of rows
// that has all results among it. Its entities must be looked at.
func (q *Query) search(view storage.View, d *disjunct, column int, inOrder bool) plan {
	best := plan{d: d, join: q.candidates(view, d), paths: true, equal: true}
	n := best.join.rows(view)
	if inOrder {
		// Going through the column meets a result every rows/n rows and can stop
		// when the batch is full; the candidates must all be looked at and sorted.
		p := q.byColumn(view, d, column)
		if rows := p.join.rows(view); n > 0 && rows/n*(MaxBatch/sortCost) < n {
			return p
		}
	}
	for i := range d.spans {
		if d.spans[i].isConstant() || d.spans[i].values.free() {
			continue
		}
		p := q.byColumn(view, d, i)
		if rows := p.join.rows(view); rows < n {
			p.sorted, p.exact = false, false
			best, n = p, rows
		}
	}
	return best
}

// sortCost is what collecting and sorting a row costs, in rows gone through.
const sortCost = 3

// join is the join of the sources' rows, between the bounds on what follows the
// prefixes. The rarest rows lead.
func (q *Query) join(view storage.View, sources []source, within intervals) *join {
	j := &join{desc: q.keyDesc}
	for _, i := range within {
		j.ranges = append(j.ranges, bounds{i.lo.String(), i.hi.String()})
	}
	for _, from := range sources {
		s := &scan{source: from, desc: j.desc, walk: view.Walk(from.prefix)}
		if s.walk == nil {
			return &join{done: true}
		}
		j.scans = append(j.scans, s)
	}
	if len(j.scans) > 1 {
		counts := make(map[*scan]int, len(j.scans))
		for _, s := range j.scans {
			counts[s] = j.count(view, s)
		}
		slices.SortStableFunc(j.scans, func(a, b *scan) int { return cmp.Compare(counts[a], counts[b]) })
	}
	return j
}

// count is how many rows the scan has in all ranges.
func (j *join) count(view storage.View, s *scan) (n int) {
	for _, r := range j.ranges {
		n += view.Count(s.prefix+r.lo, s.prefix+r.hi)
	}
	return n
}

// rows is how many rows the lead has.
func (j *join) rows(view storage.View) int {
	if len(j.scans) == 0 {
		return 0
	}
	return j.count(view, j.scans[0])
}

// from narrows the join to what lies behind the gap, which bounds suffixes.
func (j *join) from(gap string) {
	j.narrow(gap, !j.desc)
}

// narrow drops what lies below the gap, or what lies above it.
func (j *join) narrow(gap string, below bool) {
	j.ranges = slices.DeleteFunc(j.ranges, func(r bounds) bool {
		return below && r.hi <= gap || !below && r.lo >= gap
	})
	for i := range j.ranges {
		if r := &j.ranges[i]; below {
			r.lo = max(r.lo, gap)
		} else {
			r.hi = min(r.hi, gap)
		}
	}
}
