package protocol

import (
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// mask is a set of property paths; nil lets everything through.
type mask struct{ paths []string }

func newMask(m *pb.PropertyMask) (*mask, error) {
	if m == nil {
		return nil, nil
	}
	for _, p := range m.GetPaths() {
		if p == "" {
			return nil, invalid("The property mask contains an empty path.")
		}
		if p != "__key__" && len(p) <= maxName && reserved.MatchString(p) {
			return nil, invalid("The property.name %q is reserved.", p)
		}
	}
	return &mask{paths: m.GetPaths()}, nil
}

// apply reduces e to what the mask names.
func (m *mask) apply(e *pb.Entity) *pb.Entity {
	out := &pb.Entity{Key: e.GetKey()}
	for _, path := range m.paths {
		copyPath(out, e, path)
	}
	return out
}

// copyPath copies one property, or a part of an entity value, from src.
func copyPath(dst, src *pb.Entity, path string) {
	if v, ok := src.GetProperties()[path]; ok {
		setProperty(dst, path, v)
		return
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		head, tail := path[:i], path[i+1:]
		from := src.GetProperties()[head].GetEntityValue()
		if from == nil {
			continue
		}
		to := dst.GetProperties()[head].GetEntityValue()
		if to == nil {
			to = &pb.Entity{Key: from.GetKey()}
		}
		before := len(to.Properties)
		copyPath(to, from, tail)
		if len(to.Properties) > before {
			v := src.Properties[head]
			setProperty(dst, head, &pb.Value{
				ValueType: &pb.Value_EntityValue{EntityValue: to}, Meaning: v.Meaning, ExcludeFromIndexes: v.ExcludeFromIndexes})
		}
	}
}

func setProperty(e *pb.Entity, name string, v *pb.Value) {
	if e.Properties == nil {
		e.Properties = map[string]*pb.Value{}
	}
	e.Properties[name] = v
}

// removePath removes what the path names.
func removePath(e *pb.Entity, path string) {
	if _, ok := e.GetProperties()[path]; ok {
		delete(e.Properties, path)
		return
	}
	for i := strings.IndexByte(path, '.'); i >= 0; {
		if sub := e.GetProperties()[path[:i]].GetEntityValue(); sub != nil {
			removePath(sub, path[i+1:])
		}
		next := strings.IndexByte(path[i+1:], '.')
		if next < 0 {
			return
		}
		i += 1 + next
	}
}

// merge writes what the mask names from e over the stored entity (nil: none):
// a property that the mask names and e lacks is removed.
func (m *mask) merge(stored, e *pb.Entity) *pb.Entity {
	if stored == nil {
		return m.apply(e)
	}
	for _, path := range m.paths {
		if path == "__key__" {
			continue
		}
		removePath(stored, path)
		copyPath(stored, e, path)
	}
	stored.Key = e.GetKey()
	return stored
}
