package planning

import (
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// stream is the results of one disjunct, in the query's order. An entity that
// the query meets elsewhere first is left out, unless the query is a projection,
// or distinct, where each combination of values has a first result.
type stream struct {
	q *Query
	plan
	hits     []Hit // sorted, if the rows are not
	looked   int   // entities looked at
	head     Hit
	exploded bool // each row is a result of its own
}

// open starts the streams of all disjuncts. None needs to give more than keep
// results.
func (q *Query) open(view storage.View, keep int) []*stream {
	streams := make([]*stream, 0, len(q.disjuncts))
	for i := range q.disjuncts {
		d := &q.disjuncts[i]
		s := &stream{q: q, plan: q.plan(view, d, false), exploded: len(q.projection) > 0 || q.distinct > 0}
		if q.start != nil && s.sorted {
			s.join.from(q.cut(q.start, d))
		}
		if !s.sorted {
			s.collect(keep)
		}
		streams = append(streams, s)
	}
	return streams
}

// next moves to the next result.
func (s *stream) next() bool {
	if !s.sorted {
		if len(s.hits) == 0 {
			return false
		}
		s.head, s.hits = s.hits[0], s.hits[1:]
		return true
	}
	for {
		row, suffix, ok := s.join.next()
		if !ok {
			return false
		}
		if s.accept(row.Entity, suffix) {
			return true
		}
	}
}

// accept makes the row the head, if it is a result.
func (s *stream) accept(e *storage.Entity, suffix string) bool {
	if !s.within(s.q, suffix) {
		return false
	}
	if !s.paths || !s.equal {
		s.looked++
		path := e.Path()
		if !s.paths && !s.d.hasPath(path) || !s.equal && !s.d.hasEqual(e) {
			return false
		}
	}
	at := s.q.position(s.d, suffix)
	if len(s.q.columns) > 0 && !s.exploded && e.Repeats() && !s.q.isFirst(e, at) {
		return false
	}
	s.head = Hit{Entity: e, at: at}
	return true
}

// collect goes through all rows and sorts what they lead to, keeping only as
// many results as asked.
func (s *stream) collect(keep int) {
	q := s.q
	sort := func() {
		slices.SortFunc(s.hits, q.compare)
		s.hits = slices.CompactFunc(s.hits, func(a, b Hit) bool { return a.at == b.at })
		if len(s.hits) > keep {
			clear(s.hits[keep:])
			s.hits = s.hits[:keep]
		}
	}
	add := func(e *storage.Entity, at string) {
		if q.start != nil && !q.passed(q.start, at) {
			return
		}
		s.hits = append(s.hits, Hit{Entity: e, at: at})
	}
	for {
		row, _, ok := s.join.next()
		if !ok {
			break
		}
		s.looked++
		e := row.Entity
		path := e.Path()
		if !s.paths && !s.d.hasPath(path) || !s.equal && !s.d.hasEqual(e) {
			continue
		}
		if s.exploded {
			q.combinations(s.d, e, path, func(at string) { add(e, at) })
		} else if at, ok := q.first(s.d, e, path); ok && (len(q.disjuncts) == 1 || !e.Repeats() || q.isFirst(e, at)) {
			add(e, at)
		}
		if len(s.hits) >= 2*keep {
			sort()
		}
	}
	sort()
}

func (q *Query) compare(a, b Hit) int {
	switch {
	case a.at == b.at:
		return 0
	case q.before(a.at, b.at):
		return -1
	}
	return 1
}
