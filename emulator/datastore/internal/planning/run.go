package planning

import (
	"math"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// MaxBatch is how many results one batch has at most, as in production.
const MaxBatch = 300

// Hit is one result.
type Hit struct {
	Entity *storage.Entity
	at     string // its position
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

// Run runs q on the view. It returns at most max results and, but for the
// first one, no more bytes of entities than maxBytes.
func (q *Query) Run(view storage.View, maxHits, maxBytes int) Result {
	r := runner{q: q, maxHits: maxHits, maxBytes: maxBytes}
	streams := q.open(view, q.keep(maxHits))
	q.each(streams, r.take)
	if q.limit == 0 && !r.Full && !r.AtCursor && !q.Contradictory() {
		r.AtLimit = true // whatever there is
	}
	r.Scan = q.scanned(streams)
	return r.Result
}

// keep is how many results of each disjunct decide about a batch: those that
// are skipped or shown, and one more, which tells that there are more.
func (q *Query) keep(maxHits int) int {
	if q.limit >= 0 {
		maxHits = min(maxHits, q.limit)
	}
	const all = math.MaxInt / 4
	if q.distinct > 0 || maxHits >= all-q.offset {
		return all
	}
	return q.offset + maxHits + 1
}

// each calls f with the results behind the start cursor, until it returns false.
func (q *Query) each(streams []*stream, f func(Hit) bool) {
	m := newMerge(q, streams)
	group, grouped := "", false
	if q.distinct > 0 && q.start != nil && q.start.far != q.keyDesc {
		group, grouped = q.group(q.start.at), true // what came before the cursor showed it
	}
	for {
		h, ok := m.next()
		if !ok {
			return
		}
		if q.start != nil && !q.passed(q.start, h.at) {
			continue
		}
		if q.distinct > 0 {
			own := q.group(h.at)
			if grouped && own == group {
				continue
			}
			group, grouped = own, true
		}
		if !f(h) {
			return
		}
	}
}

// Each calls f with all results of q in their order, whatever batches they would
// come in, until it returns false.
func (q *Query) Each(view storage.View, f func(Hit) bool) Scan {
	streams := q.open(view, q.keep(math.MaxInt))
	left, skip := q.limit, q.offset
	q.each(streams, func(h Hit) bool {
		switch {
		case q.end != nil && q.passed(q.end, h.at):
			return false
		case skip > 0:
			skip--
			return true
		case left == 0:
			return false
		}
		left--
		return f(h)
	})
	return q.scanned(streams)
}

// runner consumes hits in the query's order.
type runner struct {
	Result
	q                 *Query
	maxHits, maxBytes int
	bytes             int
}

// take consumes one hit and reports whether to go on.
func (r *runner) take(h Hit) bool {
	q := r.q
	switch {
	case q.end != nil && q.passed(q.end, h.at):
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

// Contradictory reports whether q's filters exclude each other, so that nothing
// is looked at.
func (q *Query) Contradictory() bool { return len(q.disjuncts) == 0 }

// SkippedCursor is the cursor after the last result that the offset consumed;
// nil when there was none.
func (q *Query) SkippedCursor(r *Result) []byte {
	if r.Skipped == 0 {
		return nil
	}
	return q.AppendCursor(nil, r.lastSkipped)
}

// Value is the value of a column's property in a hit, in index form: of what is
// projected or ordered by.
func (q *Query) Value(h Hit, property string) string {
	i, ok := q.column[property]
	if !ok {
		return ""
	}
	return q.values(h.at, i+1)[i]
}

// Projected is the values of the projected properties in a hit, in index form
// and the order of Projection.
func (q *Query) Projected(h Hit) []string {
	values := q.values(h.at, len(q.columns))
	projected := make([]string, len(q.projection))
	for i, column := range q.projectedAt {
		projected[i] = values[column]
	}
	return projected
}
