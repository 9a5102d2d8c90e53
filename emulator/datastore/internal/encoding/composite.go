package encoding

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

const rowComposite = 'C'

// Composite is the form of the rows of one composite index:
//
//	C number namespace [ancestor's path] value… path value…
//
// There is a row for each combination of the properties' values, and of those
// for each ancestor, the entity itself included. Values that go against the
// direction of the key are complemented.
type Composite struct {
	Number     uint32 // of the index, so that rows of different ones don't meet
	Kind       string
	Ancestor   bool
	Properties []CompositeProperty
	KeyAt      int // how many properties come before the path
}

// CompositeProperty is one property of a composite index.
type CompositeProperty struct {
	Name         string
	Complemented bool
}

// IsComposite reports whether the row is of a composite index.
func IsComposite(row string) bool { return row != "" && row[0] == rowComposite }

// CompositeNumber is the number of the index that the row belongs to; ok is
// false for rows of other sorts.
func CompositeNumber(row string) (n uint32, ok bool) {
	if len(row) < 5 || row[0] != rowComposite {
		return 0, false
	}
	return binary.BigEndian.Uint32([]byte(row[1:5])), true
}

// AppendPrefix appends what all rows of a namespace start with.
func (c *Composite) AppendPrefix(dst []byte, namespace string) []byte {
	return appendText(binary.BigEndian.AppendUint32(append(dst, rowComposite), c.Number), namespace)
}

// AppendValue appends the value, which is in index form, of the i-th property.
func (c *Composite) AppendValue(dst []byte, i int, value string) []byte {
	start := len(dst)
	dst = append(dst, value...)
	if c.Properties[i].Complemented {
		Complement(dst[start:])
	}
	return dst
}

// Size is how many rows of the index the entity with these other rows has, and
// how many bytes they take. Over MaxIndexEntries both are only known to be more.
func (c *Composite) Size(rows Rows) (n, bytes int) {
	path := rows.Path()
	n = 1
	for _, p := range c.Properties {
		of := propertyValues(rows, p.Name)
		if len(of) == 0 {
			return 0, 0
		}
		values := 0
		for _, value := range of {
			values += len(value)
		}
		n, bytes = n*len(of), bytes*len(of)+values*n
		if n > MaxIndexEntries {
			return n, bytes
		}
	}
	namespace := textLen(rows.Head(0)[1:], 0)
	bytes += n * (5 + namespace + len(path))
	if c.Ancestor {
		each := 0
		ends := ancestors(path)
		for _, end := range ends {
			each += end + 2
		}
		n, bytes = n*len(ends), bytes*len(ends)+each*n
	}
	return n, bytes
}

// Name is what errors call the index.
func (c *Composite) Name() string {
	var names []string
	for _, p := range c.Properties {
		names = append(names, p.Name)
	}
	return fmt.Sprintf("%q on %s", c.Kind, strings.Join(names, ", "))
}

// Rows appends the rows of the index of the entity with these other rows, in no
// certain order. There are none when they would be too many.
func (c *Composite) Rows(dst []string, rows Rows) []string {
	n, bytes := c.Size(rows)
	if n == 0 || n > MaxIndexEntries || bytes > MaxCompositeBytes {
		return dst
	}
	path := rows.Path()
	values := make([][]string, len(c.Properties))
	for i, p := range c.Properties {
		values[i] = propertyValues(rows, p.Name)
	}
	namespace, _, _ := cutText(rows.Head(1)[1:])
	prefix := c.AppendPrefix(make([]byte, 0, 64), namespace)
	upTo := []int{0}
	if c.Ancestor {
		upTo = ancestors(path)
	}
	dst = slices.Grow(dst, n)
	for _, end := range upTo {
		buf := prefix
		if c.Ancestor {
			buf = append(append(buf, path[:end]...), 0, 0)
		}
		dst = c.combine(dst, buf, 0, values, path)
	}
	return dst
}

// combine appends a row for each combination of the properties from the i-th on.
func (c *Composite) combine(dst []string, buf []byte, i int, values [][]string, path string) []string {
	if i == c.KeyAt {
		buf = append(buf, path...)
	}
	if i == len(c.Properties) {
		return append(dst, string(buf))
	}
	for _, value := range values[i] {
		dst = c.combine(dst, c.AppendValue(buf, i, value), i+1, values, path)
	}
	return dst
}

// propertyValues is the values, in index form, that an entity's rows have of the
// property.
func propertyValues(rows Rows, name string) (values []string) {
	buf := make([]byte, 0, 128)
	buf = append(append(buf, rowProperty), rows.Head(1)[1:]...)
	prefix := string(appendText(buf, name))
	for i := rows.Find(prefix); i < rows.Len() && strings.HasPrefix(rows.Head(i), prefix); i++ {
		values = append(values, rows.Head(i)[len(prefix):])
	}
	return values
}

// ancestors is the lengths of the paths, without their end marks, of an entity's
// ancestors and of the entity itself.
func ancestors(path string) []int {
	var ends []int
	n := 0
	for {
		kind := textLen(path[n:], 0)
		if kind <= 2 {
			return ends
		}
		n += kind
		tag := path[n]
		n++
		switch tag {
		case tagID:
			n += 8
		case tagName:
			n += textLen(path[n:], 0)
		}
		ends = append(ends, n)
	}
}
