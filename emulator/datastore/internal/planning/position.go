package planning

import (
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// A position is where a result stands among all that a query could have: the
// values of its columns and its path, in the order of their precedence, as one
// string. Columns that go against the direction of the key are complemented, so
// positions compare as strings; a query whose key descends goes through them
// backwards. Index rows end with positions.

// flipped reports whether the column is complemented in positions.
func (q *Query) flipped(c *column) bool { return c.desc != q.keyDesc }

// before reports whether position a comes before b in the query's order.
func (q *Query) before(a, b string) bool {
	if q.keyDesc {
		return a > b
	}
	return a < b
}

func (q *Query) appendColumn(at []byte, c *column, value string) []byte {
	start := len(at)
	at = append(at, value...)
	if q.flipped(c) {
		encoding.Complement(at[start:])
	}
	return at
}

// first is the position where the disjunct meets the entity first; false says
// that it has no value for one of the columns.
func (q *Query) first(d *disjunct, e *storage.Entity, path string) (at string, ok bool) {
	if len(q.columns) == 0 {
		return path, true
	}
	buf := make([]byte, 0, 128)
	for i := range q.columns {
		if i == q.keyAt {
			buf = append(buf, path...)
		}
		c := &q.columns[i]
		value, ok := d.spans[i].first(c, e)
		if !ok {
			return "", false
		}
		buf = q.appendColumn(buf, c, value)
	}
	if q.keyAt == len(q.columns) {
		buf = append(buf, path...)
	}
	return string(buf), true
}

// isFirst reports whether at is where the query meets the entity first, in
// whichever disjunct.
func (q *Query) isFirst(e *storage.Entity, at string) bool {
	path := e.Path()
	for i := range q.disjuncts {
		d := &q.disjuncts[i]
		if !d.meets(e, path) {
			continue
		}
		if other, ok := q.first(d, e, path); ok && q.before(other, at) {
			return false
		}
	}
	return true
}

// combinations calls f with the positions of the entity in the disjunct, one
// for each combination of its values. They are bounded like index entries.
func (q *Query) combinations(d *disjunct, e *storage.Entity, path string, f func(at string)) {
	left := encoding.MaxIndexEntries
	var add func(buf []byte, i int)
	add = func(buf []byte, i int) {
		if i == q.keyAt {
			buf = append(buf, path...)
		}
		if i == len(q.columns) {
			left--
			f(string(buf))
			return
		}
		c := &q.columns[i]
		for value := range d.spans[i].all(c, e) {
			if left <= 0 {
				return
			}
			add(q.appendColumn(buf, c, value), i+1)
		}
	}
	add(make([]byte, 0, 128), 0)
}

// values is the values in a position of the first n columns.
func (q *Query) values(at string, n int) []string {
	values := make([]string, n)
	for i := range n {
		if i == q.keyAt {
			at = at[encoding.EncodedPathLen(at):]
		}
		values[i], at, _ = encoding.CutEncoded(at, q.flipped(&q.columns[i]))
	}
	return values
}

// group is the part of a position that distinct_on compares.
func (q *Query) group(at string) string {
	n := 0
	for i := range q.distinct {
		n += encoding.EncodedLen(at[n:], q.flipped(&q.columns[i]))
	}
	return at[:n]
}

// suffix turns a position into what an index row of the disjunct ends with
// there: without its constants. Where a constant differs from the position's, it
// is the bound between the rows that lie before the position and those behind.
func (q *Query) suffix(d *disjunct, at string) string {
	if !d.constants {
		return at
	}
	var buf []byte
	for i := range q.columns {
		c := &q.columns[i]
		if i == q.keyAt {
			n := encoding.EncodedPathLen(at)
			buf, at = append(buf, at[:n]...), at[n:]
		}
		n := encoding.EncodedLen(at, q.flipped(c))
		if s := &d.spans[i]; s.isConstant() {
			switch own := string(q.appendColumn(nil, c, s.constant)); strings.Compare(own, at[:n]) {
			case -1:
				return string(buf) + above
			case 1:
				return string(buf)
			}
		} else {
			buf = append(buf, at[:n]...)
		}
		at = at[n:]
	}
	return string(append(buf, at...))
}

// position is the inverse of suffix for rows.
func (q *Query) position(d *disjunct, suffix string) string {
	if !d.constants {
		return suffix
	}
	buf := make([]byte, 0, len(suffix)+32)
	for i := range q.columns {
		c := &q.columns[i]
		if i == q.keyAt {
			n := encoding.EncodedPathLen(suffix)
			buf, suffix = append(buf, suffix[:n]...), suffix[n:]
		}
		if s := &d.spans[i]; s.isConstant() {
			buf = q.appendColumn(buf, c, s.constant)
			continue
		}
		n := encoding.EncodedLen(suffix, q.flipped(c))
		buf, suffix = append(buf, suffix[:n]...), suffix[n:]
	}
	return string(append(buf, suffix...))
}
