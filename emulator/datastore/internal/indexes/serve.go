package indexes

import "slices"

// A part is an index that serves a part of a shape: its first properties
// have equalities, the others give the order.
type part struct {
	Definition
	equal []string   // the first properties
	last  []Property // the others
}

// Serve returns the composite indexes whose zig-zag merge answers shape, or
// false when there are none: their last properties are the same, namely what
// shape wants after the equalities, and the properties before those cover all
// equalities together, as one of them covers the ancestor. One index that covers
// everything is preferred; otherwise each one in turn is that which covers most
// of what is left. Of several equalities on one property, an index serves one at
// a time, so it may have to be merged with itself.
//
// A shape that is BuiltIn needs none: the answer is nil and true.
func (s *Set) Serve(shape Shape) (join []Definition, ok bool) {
	if shape.BuiltIn() {
		return nil, true
	}
	parts := s.parts(shape)
	for len(parts) > 0 {
		same, others := split(parts, parts[0].last)
		if found := cover(shape, same); found != nil && (join == nil || len(found) < len(join)) {
			join = found
		}
		parts = others
	}
	return join, join != nil
}

// parts returns the indexes that can take part in serving shape.
func (s *Set) parts(shape Shape) []part {
	n := shape.follow()
	var parts []part
	for _, d := range s.For(shape.Kind) {
		first := len(d.Properties) - n
		if d.Ancestor && !shape.Ancestor || first < 0 {
			continue
		}
		p := part{Definition: d, last: d.Properties[first:]}
		for _, property := range d.Properties[:first] {
			p.equal = append(p.equal, property.Name)
		}
		if shape.fits(p.last) && isSubset(p.equal, shape.Equal) {
			parts = append(parts, p)
		}
	}
	return parts
}

// fits tells whether last, which has the right length, is what shape wants after
// the equalities.
func (s Shape) fits(last []Property) bool {
	if !slices.Equal(last[:len(s.Ordered)], s.Ordered) {
		return false
	}
	last = last[len(s.Ordered):]
	for _, group := range s.Free {
		var names []string
		for _, p := range last[:len(group)] {
			names = append(names, p.Name)
		}
		if slices.Sort(names); !slices.Equal(names, group) {
			return false
		}
		last = last[len(group):]
	}
	return true
}

// isSubset tells whether names are among those of all, each once.
func isSubset(names, all []string) bool {
	for i, name := range names {
		if slices.Contains(names[:i], name) || !slices.Contains(all, name) {
			return false
		}
	}
	return true
}

// split separates the parts that end with last from the others.
func split(parts []part, last []Property) (same, others []part) {
	for _, p := range parts {
		if slices.Equal(p.last, last) {
			same = append(same, p)
		} else {
			others = append(others, p)
		}
	}
	return same, others
}

// cover picks parts that cover all equalities and the ancestor.
func cover(shape Shape, parts []part) []Definition {
	open := slices.Clone(shape.Equal)
	ancestor := shape.Ancestor
	var picked []Definition
	for first := true; first || len(open) > 0 || ancestor; first = false {
		best, most := -1, -1
		for i, p := range parts {
			n := 0
			for _, name := range p.equal {
				if slices.Contains(open, name) {
					n++
				}
			}
			if ancestor && p.Ancestor {
				n++
			}
			if n > most {
				best, most = i, n
			}
		}
		if best < 0 || most == 0 && !first {
			return nil
		}
		picked = append(picked, parts[best].Definition)
		open = slices.DeleteFunc(open, func(name string) bool { return slices.Contains(parts[best].equal, name) })
		ancestor = ancestor && !parts[best].Ancestor
	}
	return picked
}
