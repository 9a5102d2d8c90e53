package planning

import (
	"math"
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// MaxBatch is how many results one batch has at most, as in production.
const MaxBatch = 300

// Hit is one result.
type Hit struct {
	Entity *storage.Entity
	values []string // one for each column, encoded
	path   string
}

// Result is one batch.
type Result struct {
	Hits    []Hit
	Skipped int // results consumed by the offset

	// Why the batch ended; none of them: the data was exhausted.
	Full     bool // the batch, not the query, was at its limit
	AtLimit  bool // the query's limit was reached, with more behind it
	AtCursor bool // the end cursor was reached, with more behind it

	Scan
	lastSkipped Hit
}

// Scan is what a run went through.
type Scan struct {
	Ranges []Range // every row whose appearance or change could change the result
}

// Range is the half-open interval of rows [Lo, Hi), which isn't empty.
type Range struct{ Lo, Hi string }

func scanned(lo, hi string) Scan {
	if lo >= hi {
		return Scan{}
	}
	return Scan{Ranges: []Range{{lo, hi}}}
}

// Run runs q on the view. It returns at most max results and, but for the
// first one, no more bytes of entities than maxBytes.
func (q *Query) Run(view storage.View, maxHits, maxBytes int) Result {
	r := runner{q: q, view: view, maxHits: maxHits, maxBytes: maxBytes}
	src := q.source(view)
	lo, hi := src.rows.lo, src.rows.hi
	if src.sorted {
		src.scan(view, func(row storage.Row) bool {
			more := r.visit(src, row)
			if !more && src.desc {
				lo = row.Key
			} else if !more {
				hi = row.Key + "\x00"
			}
			return more
		})
		r.Scan = scanned(lo, hi)
		return r.Result
	}
	r.Scan = scanned(lo, hi)
	for _, h := range q.collect(view, src, maxHits) {
		if !r.take(h) {
			break
		}
	}
	return r.Result
}

// Each calls f with all results of q in their order, whatever batches they would
// come in, until it returns false.
func (q *Query) Each(view storage.View, f func(Hit) bool) Scan {
	r := q.Run(view, math.MaxInt, math.MaxInt)
	for _, h := range r.Hits {
		if !f(h) {
			break
		}
	}
	return r.Scan
}

// Count is the number of results of q, at most upTo (-1: no bound).
func (q *Query) Count(view storage.View, upTo int) (n int, scan Scan) {
	if q.limit >= 0 && (upTo < 0 || q.limit < upTo) {
		upTo = q.limit
	}
	src := q.source(view)
	lo, hi := src.rows.lo, src.rows.hi
	switch {
	case q.start != nil || q.end != nil:
		all := *q
		all.limit = upTo
		n = len(all.Run(view, math.MaxInt, math.MaxInt).Hits)
	case src.exact:
		n = max(0, view.Count(lo, hi)-q.offset)
	default:
		n = -q.offset
		var hits []Hit
		src.scan(view, func(row storage.Row) bool {
			path := encoding.Path(q.namespace, row.Entity.Key())
			if (!src.column || q.firstRow(q.columns[0], row.Entity, row.Key)) && q.matches(row.Entity, path) {
				if len(q.projection) > 0 {
					hits = q.appendHits(hits[:0], row.Entity, path)
					n += len(hits)
				} else if q.hasColumns(row.Entity) {
					n++
				}
			}
			return upTo < 0 || n < upTo
		})
		n = max(0, n)
	}
	if upTo >= 0 {
		n = min(n, upTo)
	}
	return n, scanned(lo, hi)
}

// source is the interval of rows to go through for candidates.
type source struct {
	rows   bounds
	prefix int  // what comes before the path, or before value and path
	desc   bool // direction of the scan
	column bool // the rows are those of the query's only column
	sorted bool // the rows come in the query's order
	exact  bool // every row is a result
}

func (s source) scan(view storage.View, f func(storage.Row) bool) {
	if s.desc {
		view.Descend(s.rows.lo, s.rows.hi, f)
		return
	}
	view.Ascend(s.rows.lo, s.rows.hi, f)
}

// source picks the rows to go through.
func (q *Query) source(view storage.View) source {
	if len(q.columns) == 0 {
		s, _ := q.byKey(view)
		return s
	}
	inOrder := len(q.columns) == 1 && q.keyAt == 1 && q.keyDesc == q.columns[0].desc
	column := q.byColumn(inOrder)
	if len(q.equal) == 0 && q.paths.free() {
		return column
	}
	candidates, n := q.byKey(view)
	if !inOrder {
		return candidates
	}
	// Going through the column meets a result every rows/n rows and can stop
	// when the batch is full; the candidates must all be looked at and sorted.
	if rows := view.Count(column.rows.lo, column.rows.hi); n > 0 && rows/n*(MaxBatch/sortCost) < n {
		return column
	}
	return candidates
}

// sortCost is what collecting and sorting a row costs, in rows gone through.
const sortCost = 3

// byColumn is the rows of the first column; sorted if there is no other.
func (q *Query) byColumn(inOrder bool) source {
	c := q.columns[0]
	s := source{rows: c.values, prefix: len(c.prefix), column: true, sorted: inOrder}
	if inOrder {
		s.desc = c.desc
		s.exact = len(q.projection) > 0 && len(q.equal) == 0 && q.paths.free()
		q.startAt(&s, func(cur *cursor) string { return c.prefix + cur.values[0] + cur.path })
	}
	s.rows.hi = max(s.rows.lo, s.rows.hi)
	return s
}

// byKey is candidates in the order of their keys: the rows of the rarest
// equality, or else of the kind or namespace; n is how many they are when there
// is a column to weigh them against.
func (q *Query) byKey(view storage.View) (best source, n int) {
	prefixes := q.equal
	switch {
	case q.kind == "":
		prefixes = []string{encoding.EntityPrefix(q.namespace)}
	case len(prefixes) == 0:
		prefixes = []string{encoding.KindPrefix(q.namespace, q.kind)}
	}
	for i, prefix := range prefixes {
		s := source{prefix: len(prefix), desc: q.keyDesc, sorted: len(q.columns) == 0, exact: len(prefixes) == 1 && len(q.columns) == 0}
		s.rows = bounds{prefix + q.paths.lo, encoding.PrefixEnd(prefix)}
		if q.paths.hi != "" {
			s.rows.hi = prefix + q.paths.hi
		}
		if s.sorted {
			q.startAt(&s, func(cur *cursor) string { return prefix + cur.path })
		}
		s.rows.hi = max(s.rows.lo, s.rows.hi)
		rows := 0
		if len(prefixes) > 1 || len(q.columns) > 0 {
			rows = view.Count(s.rows.lo, s.rows.hi)
		}
		if i == 0 || rows < n {
			best, n = s, rows
		}
	}
	return best, n
}

// startAt narrows a scan in the query's order to what lies behind the start
// cursor.
func (q *Query) startAt(s *source, row func(*cursor) string) {
	if q.start == nil {
		return
	}
	at := row(q.start)
	if q.start.far {
		at += "\x00"
	}
	if s.desc {
		s.rows.below(at)
	} else {
		s.rows.atLeast(at)
	}
	s.rows.hi = max(s.rows.lo, s.rows.hi)
}

// matches reports whether a candidate meets the conditions that its row alone
// doesn't prove.
func (q *Query) matches(e *storage.Entity, path string) bool {
	if !q.paths.free() && !q.paths.contains(path) {
		return false
	}
	for _, prefix := range q.equal {
		if !e.Has(prefix, path) {
			return false
		}
	}
	return true
}

// collect returns the hits of a source in the query's order, as many as one
// batch can consume.
func (q *Query) collect(view storage.View, src source, maxHits int) []Hit {
	keep := math.MaxInt / 2
	if maxHits < keep-q.offset {
		keep = q.offset + maxHits + 1
	}
	var hits []Hit
	sort := func() {
		slices.SortFunc(hits, func(a, b Hit) int { return q.compare(a.values, a.path, b.values, b.path) })
		if len(hits) > keep {
			clear(hits[keep:])
			hits = hits[:keep]
		}
	}
	src.scan(view, func(row storage.Row) bool {
		e := row.Entity
		path := encoding.Path(q.namespace, e.Key())
		if src.column && !q.firstRow(q.columns[0], e, row.Key) || !q.matches(e, path) {
			return true
		}
		hits = q.appendHits(hits, e, path)
		if len(hits) >= 2*keep {
			sort()
		}
		return true
	})
	sort()
	return hits
}

// appendHits appends the results behind the start cursor that e gives: one, with the values that come
// first in the query's order, or in a projection one for each combination.
func (q *Query) appendHits(hits []Hit, e *storage.Entity, path string) []Hit {
	values := make([]string, len(q.columns))
	if len(q.projection) > 0 {
		first := len(hits)
		hits = q.appendCombinations(hits, e, path, values, 0)
		if q.start == nil {
			return hits
		}
		rest := slices.DeleteFunc(hits[first:], func(h Hit) bool { return !q.passed(q.start, h.values, h.path) })
		return hits[:first+len(rest)]
	}
	for i, c := range q.columns {
		pick := e.First
		if c.desc {
			pick = e.Last
		}
		row, ok := pick(c.values.lo, c.values.hi)
		if !ok {
			return hits
		}
		values[i] = c.valueOf(row, path)
	}
	if q.start != nil && !q.passed(q.start, values, path) {
		return hits
	}
	return append(hits, Hit{Entity: e, values: values, path: path})
}

// appendCombinations fills values from column i on. What it may add for one
// entity is bounded.
func (q *Query) appendCombinations(hits []Hit, e *storage.Entity, path string, values []string, i int) []Hit {
	if i == len(q.columns) {
		return append(hits, Hit{Entity: e, values: slices.Clone(values), path: path})
	}
	c := q.columns[i]
	first := len(hits)
	for row := range e.RowsBetween(c.values.lo, c.values.hi) {
		if len(hits)-first >= encoding.MaxIndexEntries {
			break
		}
		values[i] = c.valueOf(row, path)
		hits = q.appendCombinations(hits, e, path, values, i+1)
	}
	return hits
}

// hasColumns reports whether e has a value within bounds for every column.
func (q *Query) hasColumns(e *storage.Entity) bool {
	for _, c := range q.columns {
		if _, ok := e.First(c.values.lo, c.values.hi); !ok {
			return false
		}
	}
	return true
}

func (c *column) valueOf(row, path string) string {
	return row[len(c.prefix) : len(row)-len(path)]
}

// firstRow reports whether row is the one of its entity's rows in the column
// that the query meets first; the entity's other rows don't count.
func (q *Query) firstRow(c column, e *storage.Entity, row string) bool {
	pick := e.First
	if c.desc {
		pick = e.Last
	}
	first, _ := pick(c.values.lo, c.values.hi)
	return first == row
}

// runner consumes hits in the query's order.
type runner struct {
	Result
	q                 *Query
	view              storage.View
	maxHits, maxBytes int
	bytes             int
}

// visit makes a hit of a row of a sorted source.
func (r *runner) visit(src source, row storage.Row) bool {
	h := Hit{Entity: row.Entity}
	if src.column {
		c := r.q.columns[0]
		if len(r.q.projection) == 0 && !r.q.firstRow(c, row.Entity, row.Key) {
			return true
		}
		h.path = encoding.Path(r.q.namespace, row.Entity.Key())
		if !r.q.matches(row.Entity, h.path) {
			return true
		}
		h.values = []string{c.valueOf(row.Key, h.path)}
		return r.take(h)
	}
	h.path = row.Key[src.prefix:]
	if len(r.q.equal) > 1 && !r.q.matches(row.Entity, h.path) {
		return true
	}
	return r.take(h)
}

// take consumes one hit and reports whether to go on.
func (r *runner) take(h Hit) bool {
	q := r.q
	switch {
	case q.start != nil && !q.passed(q.start, h.values, h.path):
		return true
	case q.end != nil && q.passed(q.end, h.values, h.path):
		r.AtCursor = true
		return false
	case r.Skipped < q.offset:
		r.Skipped++
		r.lastSkipped = h
		return true
	case q.limit >= 0 && len(r.Hits) >= q.limit:
		r.AtLimit = true
		return false
	case len(r.Hits) >= r.maxHits, len(r.Hits) > 0 && r.bytes+len(h.Entity.Body()) > r.maxBytes:
		r.Full = true
		return false
	}
	r.Hits = append(r.Hits, h)
	r.bytes += len(h.Entity.Body())
	return true
}

// AppendCursor appends the cursor after the hit.
func (q *Query) AppendCursor(dst []byte, h Hit) []byte {
	return q.appendCursor(dst, h.values, h.path, true)
}

// SkippedCursor is the cursor after the last result that the offset consumed;
// nil when there was none.
func (q *Query) SkippedCursor(r *Result) []byte {
	if r.Skipped == 0 {
		return nil
	}
	return q.AppendCursor(nil, r.lastSkipped)
}

// Value is a projected property of a hit, in index form.
func (q *Query) Value(h Hit, property string) string {
	for i, c := range q.columns {
		if c.name == property {
			return h.values[i]
		}
	}
	return ""
}
