package properties

import (
	"iter"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// Mask is a set of properties by name, each with the mask of what it shows of an
// entity value; nil shows the whole property.
type Mask map[string]Mask

// NewMask returns the mask that names all the paths.
func NewMask(paths []Path) Mask {
	m := Mask{}
	for _, path := range paths {
		m.add(path)
	}
	return m
}

func (m Mask) add(path Path) {
	sub, known := m[path[0]]
	switch {
	case known && sub == nil: // a shorter path names all of it
	case len(path) == 1:
		m[path[0]] = nil
	default:
		if sub == nil {
			sub = Mask{}
			m[path[0]] = sub
		}
		sub.add(path[1:])
	}
}

// Apply reduces e to what the mask names. The result shares values with e. It
// takes time in proportion to the smaller of both.
func (m Mask) Apply(e *pb.Entity) *pb.Entity {
	out := &pb.Entity{Key: e.GetKey()}
	m.copy(out, e)
	return out
}

// Merge writes what the mask names from e over the stored entity (nil: none),
// which it changes: a property that the mask names and e lacks is removed.
func (m Mask) Merge(stored, e *pb.Entity) *pb.Entity {
	if stored == nil {
		return m.Apply(e)
	}
	m.remove(stored)
	m.copy(stored, e)
	stored.Key = e.GetKey()
	return stored
}

// named yields the properties of e that the mask names, at least in part.
func (m Mask) named(e *pb.Entity) iter.Seq2[string, *pb.Value] {
	return func(yield func(string, *pb.Value) bool) {
		if len(m) < len(e.GetProperties()) {
			for name := range m {
				if v, ok := e.GetProperties()[name]; ok && !yield(name, v) {
					return
				}
			}
			return
		}
		for name, v := range e.GetProperties() {
			if _, ok := m[name]; ok && !yield(name, v) {
				return
			}
		}
	}
}

// copy copies what the mask names from src.
func (m Mask) copy(dst, src *pb.Entity) {
	for name, v := range m.named(src) {
		sub := m[name]
		if sub == nil {
			set(dst, name, v)
			continue
		}
		from := v.GetEntityValue()
		if from == nil {
			continue
		}
		to := dst.GetProperties()[name].GetEntityValue()
		if to == nil {
			to = &pb.Entity{} // its key is none of what the mask names
		}
		before := len(to.Properties)
		sub.copy(to, from)
		if len(to.Properties) > before {
			set(dst, name, &pb.Value{
				ValueType: &pb.Value_EntityValue{EntityValue: to}, Meaning: v.Meaning, ExcludeFromIndexes: v.ExcludeFromIndexes})
		}
	}
}

func set(e *pb.Entity, name string, v *pb.Value) {
	if e.Properties == nil {
		e.Properties = map[string]*pb.Value{}
	}
	e.Properties[name] = v
}

// remove removes what the mask names.
func (m Mask) remove(e *pb.Entity) {
	for name, v := range m.named(e) {
		if sub := m[name]; sub != nil {
			sub.remove(v.GetEntityValue())
		} else {
			delete(e.Properties, name)
		}
	}
}
