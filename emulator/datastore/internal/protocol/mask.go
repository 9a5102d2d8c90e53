package protocol

import (
	"fmt"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/properties"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

// mask is a set of property paths; nil lets everything through.
type mask struct {
	paths  []string // as they were sent
	parsed properties.Mask
}

// newMask checks the mask of a read.
func newMask(m *pb.PropertyMask) (*mask, error) {
	return parseMask(m, func(name string) string { return fmt.Sprintf("the name %s is reserved", texts.Quote(name)) })
}

// newWriteMask checks the mask of a mutation.
func newWriteMask(m *pb.PropertyMask) (*mask, error) {
	return parseMask(m, func(name string) string {
		return fmt.Sprintf("The property_mask.property.name %q is reserved.", texts.Quote(name))
	})
}

func parseMask(m *pb.PropertyMask, reservedText func(string) string) (*mask, error) {
	if m == nil {
		return nil, nil
	}
	paths := make([]properties.Path, 0, len(m.GetPaths()))
	for _, p := range m.GetPaths() {
		if p == "__key__" {
			continue // comes along always
		}
		path, err := properties.ParsePath(p)
		if err != nil {
			return nil, invalid("%v", err)
		}
		for _, name := range path {
			if isReserved(name) {
				return nil, invalid("%s", reservedText(name))
			}
		}
		paths = append(paths, path)
	}
	return &mask{paths: m.GetPaths(), parsed: properties.NewMask(paths)}, nil
}

// apply reduces e to what the mask names.
func (m *mask) apply(e *pb.Entity) *pb.Entity { return m.parsed.Apply(e) }

// merge writes what the mask names from e over the stored entity (nil: none).
func (m *mask) merge(stored, e *pb.Entity) *pb.Entity { return m.parsed.Merge(stored, e) }
