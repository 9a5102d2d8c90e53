package protocol

import (
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/properties"
)

// maxTransforms bounds the transforms of one mutation, as Google documents it.
const maxTransforms = 500

// transforms checks the property transforms of a mutation.
func (p partition) transforms(all []*pb.PropertyTransform) ([]properties.Transform, error) {
	if len(all) > maxTransforms {
		return nil, invalid("A mutation has at most %d property transforms; this one has %d.", maxTransforms, len(all))
	}
	out := make([]properties.Transform, len(all))
	named := make(map[string]bool, len(all))
	for i, t := range all {
		if t.GetProperty() == "__key__" {
			return nil, invalid("Invalid property path member name %q.", t.GetProperty())
		}
		var err error
		if out[i], err = properties.NewTransform(t); err != nil {
			return nil, invalid("%v", err)
		}
		named[joined(out[i].Path)] = true
		for _, name := range out[i].Path {
			if err := checkName("The property_transforms.property.name", name); err != nil {
				return nil, err
			}
		}
		for _, v := range out[i].Elements() {
			// Lengths depend on where it is written: the result is checked for them.
			if err := p.value(t.GetProperty(), v, 0, true, true); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range out {
		for n := 1; n < len(t.Path); n++ {
			if outer := joined(t.Path[:n]); named[outer] {
				return nil, invalid("Cannot transform property %s and its nested property at the same time.", outer)
			}
		}
	}
	return out, nil
}

// joined is a path in quotes where it needs them: different paths differ.
func joined(path properties.Path) string {
	names := make([]string, len(path))
	for i, name := range path {
		if names[i] = name; strings.ContainsAny(name, ".`\\") {
			names[i] = "`" + strings.NewReplacer("`", "\\`", `\`, `\\`).Replace(name) + "`"
		}
	}
	return strings.Join(names, ".")
}
