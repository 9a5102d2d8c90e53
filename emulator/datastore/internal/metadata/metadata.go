package metadata

import (
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// The metadata kinds.
const (
	NamespaceKind = "__namespace__"
	KindKind      = "__kind__"
	PropertyKind  = "__property__"
)

// Representations is the property of a __property__ entity that lists how its
// values are represented in the index.
const Representations = "property_representation"

// Found is the entities of a metadata kind, in no particular order. Their keys
// have no partition.
type Found struct {
	Entities []*pb.Entity
	Ranges   []planning.Range // the rows that were gone through
}

// Namespaces finds the namespaces that have entities. The default namespace has
// the identifier 1, since no name is empty.
func Namespaces(v storage.View) Found {
	w := walker{view: v}
	end := encoding.PrefixEnd(encoding.AllEntities)
	for at := encoding.AllEntities; ; {
		row, ok := w.first(at, end)
		if !ok {
			return w.Found
		}
		namespace, _, err := encoding.CutEntityRow(row)
		if err != nil {
			return w.Found
		}
		id := &pb.Key_PathElement{Kind: NamespaceKind, IdType: &pb.Key_PathElement_Name{Name: namespace}}
		if namespace == "" {
			id.IdType = &pb.Key_PathElement_Id{Id: 1}
		}
		w.add(nil, id)
		at = encoding.PrefixEnd(encoding.EntityPrefix(namespace))
	}
}

// Kinds finds the kinds that have entities in the namespace.
func Kinds(v storage.View, namespace string) Found {
	w := walker{view: v}
	at := encoding.KindsPrefix(namespace)
	for end := encoding.PrefixEnd(at); ; {
		row, ok := w.first(at, end)
		if !ok {
			return w.Found
		}
		_, kind, err := encoding.CutKindRow(row)
		if err != nil {
			return w.Found
		}
		w.add(nil, element(KindKind, kind))
		at = encoding.PrefixEnd(encoding.KindPrefix(namespace, kind))
	}
}

// Properties finds the indexed properties of all kinds of the namespace and,
// unless only their keys are wanted, their representations.
func Properties(v storage.View, namespace string, keysOnly bool) Found {
	w := walker{view: v}
	at := encoding.PropertiesPrefix(namespace)
	for end := encoding.PrefixEnd(at); ; {
		row, ok := w.first(at, end)
		if !ok {
			return w.Found
		}
		_, kind, property, rest, err := encoding.CutPropertyRow(row)
		if err != nil {
			return w.Found
		}
		prefix := row[:len(row)-len(rest)]
		at = encoding.PrefixEnd(prefix)
		var properties map[string]*pb.Value
		if !keysOnly {
			properties = map[string]*pb.Value{Representations: w.representations(prefix, at)}
		}
		w.add(properties, element(KindKind, kind), element(PropertyKind, property))
	}
}

// walker moves forward over rows and notes where it has been.
type walker struct {
	view storage.View
	Found
}

// first returns the first row in [lo, hi).
func (w *walker) first(lo, hi string) (row string, ok bool) {
	w.view.Ascend(lo, hi, func(r storage.Row) bool {
		row, ok = r.Key(), true
		return false
	})
	if ok {
		hi = row + "\x00"
	}
	w.Ranges = append(w.Ranges, planning.Range{Lo: lo, Hi: hi})
	return row, ok
}

// representations lists those of the values in the rows [prefix, end), by name.
func (w *walker) representations(prefix, end string) *pb.Value {
	var names []string
	for at := prefix; ; {
		row, ok := w.first(at, end)
		if !ok {
			break
		}
		name, next, err := encoding.Representation(row[len(prefix):])
		if err != nil {
			break
		}
		names = append(names, name)
		at = prefix + next
	}
	slices.Sort(names)
	list := &pb.ArrayValue{}
	for _, name := range names {
		list.Values = append(list.Values, &pb.Value{ValueType: &pb.Value_StringValue{StringValue: name}})
	}
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: list}}
}

func (w *walker) add(properties map[string]*pb.Value, path ...*pb.Key_PathElement) {
	w.Entities = append(w.Entities, &pb.Entity{Key: &pb.Key{Path: path}, Properties: properties})
}

func element(kind, name string) *pb.Key_PathElement {
	return &pb.Key_PathElement{Kind: kind, IdType: &pb.Key_PathElement_Name{Name: name}}
}
