package storage

import (
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// Row is one index row and the entity that it belongs to. The rows of composite
// indexes are their heads; all others go on with the entity's path.
type Row struct {
	Head   string
	Entity *Entity
}

// row is the i-th of the entity's own rows.
func (e *Entity) row(i int) Row { return Row{Head: e.rows.Head(i), Entity: e} }

// Key is the whole row.
func (r Row) Key() string { return r.Suffix(0) }

// Suffix is the row without its first n bytes, all of which are of the head.
func (r Row) Suffix(n int) string {
	head, path := r.Head[n:], r.path()
	if head == "" {
		return path // as the rows of one value have it, which most queries read
	}
	return head + path
}

// path is what follows the head.
func (r Row) path() string {
	if r.Entity == nil || encoding.IsComposite(r.Head) {
		return ""
	}
	return r.Entity.rows.Path()
}

// compare orders whole rows.
func (r Row) compare(o Row) int {
	n := min(len(r.Head), len(o.Head))
	if c := strings.Compare(r.Head[:n], o.Head[:n]); c != 0 {
		return c
	}
	if len(r.Head) < len(o.Head) {
		return -compareParts(o.Head[n:], o.path(), r.path())
	}
	return compareParts(r.Head[n:], r.path(), o.path())
}

// compareParts compares a+b with c.
func compareParts(a, b, c string) int {
	n := min(len(a), len(c))
	if order := strings.Compare(a[:n], c[:n]); order != 0 {
		return order
	}
	if n < len(a) {
		return 1
	}
	return strings.Compare(b, c[n:])
}
