package planning

import (
	"encoding/binary"
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// A cursor is a gap beside a position, on its far or its near side as positions
// compare. So it means the same place to a query and to its reverse.
//
// On the wire: a version byte; 1 for the far side, else 0; the number of
// columns; each column's name and 1 if it is complemented, else 0; how many of
// them count before the key; the namespace; the position. Names and namespaces
// are preceded by their lengths.
type cursor struct {
	at    string
	far   bool
	start bool // before everything, whatever the order
}

const cursorVersion = 2

// StartCursor is the cursor of an answer without any result. It comes before
// everything.
func StartCursor() []byte { return []byte(startCursor) }

const startCursor = "\n\x00" // as production has it

var errCursor = Invalid("Error parsing protocol message")

// newCursorHead is what comes between the first two bytes and the position.
func (q *Query) newCursorHead() []byte {
	head := binary.AppendUvarint(nil, uint64(len(q.columns)))
	for i := range q.columns {
		head = appendCounted(head, q.columns[i].name)
		if q.flipped(&q.columns[i]) {
			head = append(head, 1)
		} else {
			head = append(head, 0)
		}
	}
	head = binary.AppendUvarint(head, uint64(q.keyAt))
	return appendCounted(head, q.namespace)
}

// AppendCursor appends the cursor after the hit.
func (q *Query) AppendCursor(dst []byte, h Hit) []byte {
	far := byte(1)
	if q.keyDesc {
		far = 0
	}
	dst = slices.Grow(dst, 2+len(q.cursorHead)+len(h.at))
	dst = append(dst, cursorVersion, far)
	dst = append(dst, q.cursorHead...)
	return append(dst, h.at...)
}

func appendCounted(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// cursorReader takes a cursor apart; after the first error it returns zeros.
type cursorReader struct {
	b   []byte
	bad bool
}

func (r *cursorReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *cursorReader) counted() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// parseCursor reads a cursor of any query with the same columns.
func (q *Query) parseCursor(b []byte) (*cursor, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if string(b) == startCursor {
		return &cursor{start: true}, nil
	}
	if len(b) < 2 || b[0] != cursorVersion || b[1] > 1 {
		return nil, errCursor
	}
	c := &cursor{far: b[1] == 1}
	r := cursorReader{b: b[2:]}
	n := r.uvarint()
	if n > maxParts+maxProjected { // no query has so many columns
		return nil, errCursor
	}
	names, flipped := make([]string, n), make([]bool, n)
	for i := range names {
		names[i] = r.counted()
		flipped[i] = r.uvarint() == 1
	}
	keyAt := r.uvarint()
	namespace := r.counted()
	if r.bad || keyAt > n {
		return nil, errCursor
	}
	at := string(r.b)
	values := make([]string, n)
	var path string
	var err error
	for i := range n + 1 {
		if i == keyAt {
			if path, at, err = encoding.CutEncodedPath(at); err != nil {
				return nil, errCursor
			}
		}
		if i == n {
			break
		}
		if values[i], at, err = encoding.CutEncoded(at, flipped[i]); err != nil {
			return nil, errCursor
		}
	}
	elements, _, err := encoding.CutPath(path)
	if at != "" || err != nil || len(elements) == 0 {
		return nil, errCursor
	}
	if kind := lastKind(elements); q.kind != "" && kind != q.kind {
		return nil, invalid("The query kind is %s but cursor.postfix_position.key kind is %s.", q.kind, kind)
	}
	if namespace != q.namespace {
		return nil, invalid("The query namespace is %q but the cursor's namespace is %q.", q.namespace, namespace)
	}
	c.at, err = q.placeCursor(names, values, path)
	return c, err
}

// placeCursor is the position that the named values and the path have in q.
func (q *Query) placeCursor(names, values []string, path string) (string, error) {
	var at []byte
	for i := range q.columns {
		if i == q.keyAt {
			at = append(at, path...)
		}
		c := &q.columns[i]
		n := slices.Index(names, c.name)
		if n < 0 {
			return "", invalid("The cursor is of a query with other orders: it has no value of %q.", c.name)
		}
		at = q.appendColumn(at, c, values[n])
	}
	if len(names) != len(q.columns) {
		return "", invalid("The cursor is of a query with other orders: %q.", names)
	}
	if q.keyAt == len(q.columns) {
		at = append(at, path...)
	}
	return string(at), nil
}

// passed reports whether a position lies behind the gap in q's order.
func (q *Query) passed(c *cursor, at string) bool {
	if c.start {
		return true
	}
	if at == c.at {
		return c.far == q.keyDesc
	}
	return q.before(c.at, at)
}

// cut is the gap as a bound for what the disjunct's rows end with.
func (q *Query) cut(c *cursor, d *disjunct) string {
	s := q.suffix(d, c.at)
	if c.far && q.position(d, s) == c.at {
		s += "\x00"
	}
	return s
}
