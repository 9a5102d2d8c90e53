package planning

import (
	"slices"
	"strings"
)

// Scan is what a run went through.
type Scan struct {
	Ranges []Range // every row whose appearance or change could change the result

	IndexEntries int // rows gone through
	Entities     int // entities looked at
	Indexes      []UsedIndex
}

// Range is the half-open interval of rows [Lo, Hi), which isn't empty.
type Range struct{ Lo, Hi string }

// UsedIndex names an index as Datastore's explain does.
type UsedIndex struct {
	QueryScope string
	Properties string // (foo ASC, __name__ ASC)
}

const (
	scopeKind      = "Collection Group"
	scopeAncestors = "Includes ancestors"
)

// used names the index of a source. Composite indexes are named as they are
// defined, built-in ones, which go both ways, as they are read.
func (s *source) used(desc bool) UsedIndex {
	u := UsedIndex{QueryScope: scopeKind}
	var text strings.Builder
	add := func(name string, desc bool) {
		if text.Len() > 0 {
			text.WriteString(", ")
		}
		text.WriteString(name)
		if desc {
			text.WriteString(" DESC")
		} else {
			text.WriteString(" ASC")
		}
	}
	named := false
	if s.composite != nil {
		if s.composite.Definition.Ancestor {
			u.QueryScope = scopeAncestors
		}
		for _, p := range s.composite.Definition.Properties {
			name := p.Name
			if name == keyProperty {
				name, named = "__name__", true
			}
			desc = p.Desc
			add(name, desc)
		}
	} else if s.property != "" {
		add(s.property, desc)
	}
	if !named {
		add("__name__", desc)
	}
	u.Properties = "(" + text.String() + ")"
	return u
}

// scanned is what the streams have gone through so far.
func (q *Query) scanned(streams []*stream) Scan {
	var sum Scan
	for _, s := range streams {
		sum = sum.with(s)
	}
	return sum
}

// with is the scan and what the stream has gone through so far.
func (sum Scan) with(s *stream) Scan {
	sum.Ranges = append(sum.Ranges, s.join.through()...)
	sum.IndexEntries += s.join.entries()
	sum.Entities += s.looked
	for _, scan := range s.join.scans {
		if u := scan.used(scan.desc); !slices.Contains(sum.Indexes, u) {
			sum.Indexes = append(sum.Indexes, u)
		}
	}
	return sum
}
