package planning

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// A cursor is a gap between rows: beside the row with the given column values
// and path, on the far side or the near side of it as seen in index order,
// which is the order of the query whose first direction is ascending. So it
// means the same place to a query and to its reverse.
//
// On the wire: a version byte; 1 for the far side, else 0; the number of
// columns; each column's name, 1 if it comes after the key, and value; the
// namespace; the path. Names, values and namespaces are preceded by their
// lengths.
type cursor struct {
	values []string // encoded, one for each column
	path   string
	far    bool
}

const cursorVersion = 1

var errCursor = Invalid("Error parsing protocol message")

// appendCursor appends the wire form of the gap after (in q's direction) the
// row with the given values and path.
func (q *Query) appendCursor(dst []byte, values []string, path string, after bool) []byte {
	far := byte(0)
	if after != q.reversed() {
		far = 1
	}
	dst = append(dst, cursorVersion, far)
	dst = binary.AppendUvarint(dst, uint64(len(q.columns)))
	for i, c := range q.columns {
		dst = appendCounted(dst, c.name)
		dst = appendCounted(dst, values[i])
	}
	dst = appendCounted(dst, q.namespace)
	return append(dst, path...)
}

func appendCounted(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func cutCounted(b []byte) (s string, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", nil, errCursor
	}
	return string(b[size : size+int(n)]), b[size+int(n):], nil
}

// reversed reports whether q goes against index order.
func (q *Query) reversed() bool {
	if len(q.columns) > 0 && q.keyAt > 0 {
		return q.columns[0].desc
	}
	return q.keyDesc
}

func (q *Query) parseCursor(b []byte) (*cursor, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 3 || b[0] != cursorVersion || b[1] > 1 {
		return nil, errCursor
	}
	c := &cursor{far: b[1] == 1}
	n, size := binary.Uvarint(b[2:])
	if size <= 0 || n > uint64(len(b)) {
		return nil, errCursor
	}
	b = b[2+size:]
	names := make([]string, n)
	values := make([]string, n)
	var err error
	for i := range names {
		if names[i], b, err = cutCounted(b); err != nil {
			return nil, err
		}
		if values[i], b, err = cutCounted(b); err != nil {
			return nil, err
		}
		if _, rest, err := encoding.CutValue(values[i]); err != nil || rest != "" {
			return nil, errCursor
		}
	}
	namespace, b, err := cutCounted(b)
	if err != nil {
		return nil, err
	}
	c.path = string(b)
	path, rest, err := encoding.CutPath(c.path)
	if err != nil || rest != "" || len(path) == 0 {
		return nil, errCursor
	}
	if kind := lastKind(path); q.kind != "" && kind != q.kind {
		return nil, invalid("The query kind is %s but cursor.postfix_position.key kind is %s.", q.kind, kind)
	}
	if namespace != q.namespace {
		return nil, invalid("The query namespace is %q but the cursor's namespace is %q.", q.namespace, namespace)
	}
	for _, col := range q.columns {
		i := slices.Index(names, col.name)
		if i < 0 {
			return nil, invalid("The cursor is of a query with other orders: it has no value of %q.", col.name)
		}
		c.values = append(c.values, values[i])
	}
	if len(names) != len(q.columns) {
		return nil, invalid("The cursor is of a query with other orders: %q.", names)
	}
	return c, nil
}

// passed reports whether a row with the given values and path lies after the
// gap c in q's direction.
func (q *Query) passed(c *cursor, values []string, path string) bool {
	if order := q.compare(values, path, c.values, c.path); order != 0 {
		return order > 0
	}
	return c.far == q.reversed()
}

// compare orders two rows as q does.
func (q *Query) compare(values []string, path string, oValues []string, oPath string) int {
	for i := range q.columns[:q.keyAt] {
		if order := q.columns[i].order(values[i], oValues[i]); order != 0 {
			return order
		}
	}
	if order := strings.Compare(path, oPath); order != 0 {
		if q.keyDesc {
			return -order
		}
		return order
	}
	for i := q.keyAt; i < len(q.columns); i++ {
		if order := q.columns[i].order(values[i], oValues[i]); order != 0 {
			return order
		}
	}
	return 0
}

func (c *column) order(a, b string) int {
	if c.desc {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}
