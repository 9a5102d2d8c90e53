package encoding

import (
	"bytes"
	"fmt"
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

// RowsOf returns the rows of an entity whose key is complete. The error states
// which bound was exceeded.
func RowsOf(e *pb.Entity) (Rows, error) { return new(RowMaker).Of(e) }

// RowMaker derives the rows of entities, one after the other, in what it has
// allocated before. It is for one goroutine; the zero value is ready.
type RowMaker struct{ collector }

// Of is RowsOf.
func (m *RowMaker) Of(e *pb.Entity) (Rows, error) {
	k, properties := e.GetKey(), len(e.GetProperties())
	m.reset()
	m.project = k.GetPartitionId().GetProjectId()
	m.buf = slices.Grow(m.buf, 32+48*properties)
	m.heads = slices.Grow(m.heads, FirstProperty+properties)
	m.path = AppendPath(slices.Grow(m.path, 96), k)
	m.begin(k.GetPartitionId().GetNamespaceId(), k.GetPath()[len(k.GetPath())-1].GetKind())
	for name, v := range e.GetProperties() {
		if err := m.property(name, v); err != nil {
			return Rows{}, err
		}
	}
	return m.rows(), nil
}

// collector builds the heads of the rows of one entity one behind the other.
type collector struct {
	project      string
	prefix, path []byte
	buf          []byte
	heads        []head // in buf
}

// head is where the head of a row begins, where its value does and where it ends.
type head struct{ begin, value, end int }

func (h head) of(b []byte) []byte { return b[h.begin:h.end] }

// property is what all rows of the same property start with.
func (h head) property(b []byte) []byte { return b[h.begin:h.value] }

func (c *collector) reset() {
	c.project, c.buf, c.path, c.prefix, c.heads = "", c.buf[:0], c.path[:0], c.prefix[:0], c.heads[:0]
}

// begin adds the entity row and the kind row to a collector with a path.
func (c *collector) begin(namespace, kind string) {
	c.buf = appendText(append(c.buf, rowEntity), namespace)
	c.end(len(c.buf))
	c.buf = appendText(appendText(append(c.buf, rowKind), namespace), kind)
	c.end(len(c.buf))
	c.prefix = appendText(appendText(append(c.prefix, rowProperty), namespace), kind)
}

// rows returns what was collected.
func (c *collector) rows() Rows {
	properties := c.heads[FirstProperty:]
	slices.SortFunc(properties, func(a, b head) int { return bytes.Compare(a.of(c.buf), b.of(c.buf)) })
	same := func(a, b head) bool { return bytes.Equal(a.of(c.buf), b.of(c.buf)) }
	n := FirstProperty + len(slices.CompactFunc(properties, same))
	return pack(c.path, c.buf, c.heads[:n])
}

// end ends a head where the buffer ends; its value begins at the given place.
func (c *collector) end(value int) {
	begin := 0
	if n := len(c.heads); n > 0 {
		begin = c.heads[n-1].end
	}
	c.heads = append(c.heads, head{begin, value, len(c.buf)})
}

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
	value := c.name(name)
	var ok bool
	if c.buf, ok = AppendValue(c.buf, v, c.project); !ok {
		c.buf = c.buf[:start]
		return nil
	}
	return c.entry(name, value)
}

// name begins the row of a property; its value is to be appended at the returned place.
func (c *collector) name(name string) (value int) {
	c.buf = append(c.buf, c.prefix...)
	c.buf = appendText(c.buf, name)
	return len(c.buf)
}

// entry ends the row of a property whose value begins at the given place.
func (c *collector) entry(name string, value int) error {
	c.end(value)
	if len(c.heads)-FirstProperty > MaxIndexEntries {
		return fmt.Errorf("an entity has at most %d index entries; property %q exceeds that", MaxIndexEntries, name)
	}
	if len(c.buf)+len(c.heads)*len(c.path) > MaxIndexBytes {
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
