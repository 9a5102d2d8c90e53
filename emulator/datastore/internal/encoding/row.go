package encoding

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// What bounds the rows of one entity: Datastore documents how many there are, of
// all indexes together, and how large those of composite indexes may be;
// Firestore, on which it runs, how large those of properties.
const (
	MaxIndexEntries   = 20000
	MaxIndexBytes     = 8 << 20
	MaxCompositeBytes = 2 << 20
)

const (
	rowEntity   = 'E'
	rowKind     = 'K'
	rowProperty = 'P'
)

// EntityPrefix is what all entity rows of a namespace start with.
func EntityPrefix(namespace string) string {
	return string(appendText([]byte{rowEntity}, namespace))
}

// EntityRow is the row of the entity with key k.
func EntityRow(k *pb.Key) string {
	dst := make([]byte, 0, 96)
	dst = appendText(append(dst, rowEntity), k.GetPartitionId().GetNamespaceId())
	return string(AppendPath(dst, k))
}

// KindPrefix is what all rows of the kind start with, before the path.
func KindPrefix(namespace, kind string) string {
	return string(appendText(appendText([]byte{rowKind}, namespace), kind))
}

// PropertyPrefix is what all rows of the kind's property start with, before
// the value.
func PropertyPrefix(namespace, kind, property string) string {
	return string(appendText(appendText(appendText([]byte{rowProperty}, namespace), kind), property))
}

// Path returns the path part of an entity row.
func Path(namespace, entityRow string) string {
	return entityRow[len(namespace)+strings.Count(namespace, "\x00")+3:]
}

// Rows returns every row of an entity whose key is complete: first the entity
// row, then the kind row, then the property rows in ascending order, without
// duplicates. The error states which bound was exceeded.
func Rows(e *pb.Entity) ([]string, error) {
	c := newCollector(e.GetKey(), len(e.GetProperties()))
	for name, v := range e.GetProperties() {
		if err := c.property(name, v); err != nil {
			return nil, err
		}
	}
	return c.rows(), nil
}

// Repeated yields what the rows of a property start with, for each property of
// which an entity has several rows.
func Repeated(rows []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		last := ""
		for i := 3; i < len(rows); i++ {
			prefix := rows[i][:propertyLen(rows[i])]
			if prefix != last && strings.HasPrefix(rows[i-1], prefix) {
				if last = prefix; !yield(prefix) {
					return
				}
			}
		}
	}
}

// propertyLen is the length of a property row as far as the value.
func propertyLen(row string) int {
	n := 1
	for range 3 {
		n += max(0, textLen(row[n:], 0))
	}
	return n
}

// collector builds the rows of one entity one behind the other.
type collector struct {
	project      string
	prefix, path []byte
	buf          []byte
	ends         []int
}

// newCollector starts with the entity row and the kind row.
func newCollector(k *pb.Key, properties int) *collector {
	c := &collector{
		project: k.GetPartitionId().GetProjectId(),
		buf:     make([]byte, 0, 128+64*properties),
		path:    AppendPath(make([]byte, 0, 96), k),
		prefix:  make([]byte, 0, 64),
		ends:    make([]int, 0, 2+properties),
	}
	c.begin(k.GetPartitionId().GetNamespaceId(), k.GetPath()[len(k.GetPath())-1].GetKind())
	return c
}

// begin adds the entity row and the kind row to a collector with a path.
func (c *collector) begin(namespace, kind string) {
	c.buf = appendText(append(c.buf, rowEntity), namespace)
	c.buf = append(c.buf, c.path...)
	c.end()
	c.buf = appendText(appendText(append(c.buf, rowKind), namespace), kind)
	c.buf = append(c.buf, c.path...)
	c.end()
	c.prefix = appendText(appendText(append(c.prefix, rowProperty), namespace), kind)
}

// rows returns what was collected.
func (c *collector) rows() []string {
	// One allocation holds all rows; they live and die together.
	all := string(c.buf)
	rows := make([]string, len(c.ends))
	start := 0
	for i, end := range c.ends {
		rows[i] = all[start:end]
		start = end
	}
	slices.Sort(rows[2:])
	return rows[:2+len(slices.Compact(rows[2:]))]
}

func (c *collector) end() { c.ends = append(c.ends, len(c.buf)) }

// property adds the rows of v under the (dotted) name.
func (c *collector) property(name string, v *pb.Value) error {
	if v.GetExcludeFromIndexes() {
		return nil
	}
	switch x := v.GetValueType().(type) {
	case *pb.Value_ArrayValue:
		for _, elem := range x.ArrayValue.GetValues() {
			if err := c.property(name, elem); err != nil {
				return err
			}
		}
		return nil
	case *pb.Value_EntityValue:
		for sub, elem := range x.EntityValue.GetProperties() {
			if err := c.property(name+"."+sub, elem); err != nil {
				return err
			}
		}
		return nil
	}
	start := len(c.buf)
	c.buf = append(c.buf, c.prefix...)
	c.buf = appendText(c.buf, name)
	var ok bool
	if c.buf, ok = AppendValue(c.buf, v, c.project); !ok {
		c.buf = c.buf[:start]
		return nil
	}
	c.buf = append(c.buf, c.path...)
	c.end()
	if len(c.ends)-2 > MaxIndexEntries {
		return fmt.Errorf("an entity has at most %d index entries; property %q exceeds that", MaxIndexEntries, name)
	}
	if len(c.buf) > MaxIndexBytes {
		return fmt.Errorf("the index entries of an entity have at most %d bytes; property %q exceeds that", MaxIndexBytes, name)
	}
	return nil
}

// AllEntities and AllKinds start every entity row and every kind row.
const (
	AllEntities = string(rune(rowEntity))
	AllKinds    = string(rune(rowKind))
)

// CutKindRow returns the namespace and kind of a kind row.
func CutKindRow(row string) (namespace, kind string, err error) {
	if !strings.HasPrefix(row, AllKinds) {
		return "", "", errCorrupt
	}
	if namespace, row, err = cutText(row[1:]); err != nil {
		return "", "", err
	}
	kind, _, err = cutText(row)
	return namespace, kind, err
}

// CutEntityRow returns the namespace and path of an entity row.
func CutEntityRow(row string) (namespace string, path []*pb.Key_PathElement, err error) {
	if !strings.HasPrefix(row, AllEntities) {
		return "", nil, errCorrupt
	}
	if namespace, row, err = cutText(row[1:]); err != nil {
		return "", nil, err
	}
	path, _, err = CutPath(row)
	return namespace, path, err
}
