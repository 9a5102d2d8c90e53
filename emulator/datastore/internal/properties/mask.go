package properties

import pb "cloud.google.com/go/datastore/apiv1/datastorepb"

// Mask is a set of property paths.
type Mask []Path

// Apply reduces e to what the mask names. The result shares values with e.
func (m Mask) Apply(e *pb.Entity) *pb.Entity {
	out := &pb.Entity{Key: e.GetKey()}
	for _, path := range m {
		copyPath(out, e, path)
	}
	return out
}

// Merge writes what the mask names from e over the stored entity (nil: none),
// which it changes: a property that the mask names and e lacks is removed.
func (m Mask) Merge(stored, e *pb.Entity) *pb.Entity {
	if stored == nil {
		return m.Apply(e)
	}
	for _, path := range m {
		removePath(stored, path)
	}
	for _, path := range m {
		copyPath(stored, e, path)
	}
	stored.Key = e.GetKey()
	return stored
}

// copyPath copies one property, or a part of an entity value, from src.
func copyPath(dst, src *pb.Entity, path Path) {
	v, ok := src.GetProperties()[path[0]]
	if !ok {
		return
	}
	if len(path) == 1 {
		set(dst, path[0], v)
		return
	}
	from := v.GetEntityValue()
	if from == nil {
		return
	}
	to := dst.GetProperties()[path[0]].GetEntityValue()
	if to == from {
		return // a shorter path has brought all of it
	}
	if to == nil {
		to = &pb.Entity{Key: from.GetKey()}
	}
	before := len(to.Properties)
	copyPath(to, from, path[1:])
	if len(to.Properties) > before {
		set(dst, path[0], &pb.Value{
			ValueType: &pb.Value_EntityValue{EntityValue: to}, Meaning: v.Meaning, ExcludeFromIndexes: v.ExcludeFromIndexes})
	}
}

func set(e *pb.Entity, name string, v *pb.Value) {
	if e.Properties == nil {
		e.Properties = map[string]*pb.Value{}
	}
	e.Properties[name] = v
}

// removePath removes what the path names.
func removePath(e *pb.Entity, path Path) {
	for len(path) > 1 {
		if e = e.GetProperties()[path[0]].GetEntityValue(); e == nil {
			return
		}
		path = path[1:]
	}
	delete(e.Properties, path[0])
}
