package datastore

import (
	"cloud.google.com/go/datastore/admin/apiv1/adminpb"

	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
)

// ParseIndexYAML reads App Engine's index.yaml, for programs that compare it with
// the composite indexes that there are. The indexes have neither a project nor an
// id nor a state.
func ParseIndexYAML(text []byte) ([]*adminpb.Index, error) {
	file, err := indexes.Parse(text)
	if err != nil {
		return nil, err
	}
	var all []*adminpb.Index
	for _, d := range file.Set().All() {
		x := &adminpb.Index{Kind: d.Kind, Ancestor: adminpb.Index_NONE}
		if d.Ancestor {
			x.Ancestor = adminpb.Index_ALL_ANCESTORS
		}
		for _, p := range d.Properties {
			direction := adminpb.Index_ASCENDING
			if p.Desc {
				direction = adminpb.Index_DESCENDING
			}
			x.Properties = append(x.Properties, &adminpb.Index_IndexedProperty{Name: p.Name, Direction: direction})
		}
		all = append(all, x)
	}
	return all, nil
}
