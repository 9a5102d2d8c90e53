package indexes

import (
	"maps"
	"slices"
)

// Set is a set of composite indexes. It never changes: With and Without return
// another one. The zero value and nil are the empty set.
type Set struct {
	kinds map[string][]Definition // in order
	n     int
}

// NewSet returns the set of the given definitions; those that say the same
// count once.
func NewSet(definitions ...Definition) *Set {
	s := &Set{kinds: map[string][]Definition{}}
	seen := map[string]bool{}
	for _, d := range definitions {
		if key := d.Key(); !seen[key] {
			seen[key] = true
			s.kinds[d.Kind] = append(s.kinds[d.Kind], d)
			s.n++
		}
	}
	for _, of := range s.kinds {
		slices.SortFunc(of, Definition.Compare)
	}
	return s
}

// With returns s and d.
func (s *Set) With(d Definition) *Set {
	if s.Has(d) {
		return s
	}
	return NewSet(append(s.All(), d)...)
}

// Without returns s without d.
func (s *Set) Without(d Definition) *Set {
	if !s.Has(d) {
		return s
	}
	key := d.Key()
	return NewSet(slices.DeleteFunc(s.All(), func(e Definition) bool { return e.Key() == key })...)
}

// Has tells whether d is in s.
func (s *Set) Has(d Definition) bool {
	key := d.Key()
	return slices.ContainsFunc(s.For(d.Kind), func(e Definition) bool { return e.Key() == key })
}

// Len is the number of indexes in s.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.n
}

// All returns the definitions in order.
func (s *Set) All() []Definition {
	all := make([]Definition, 0, s.Len())
	if s == nil {
		return all
	}
	for _, kind := range slices.Sorted(maps.Keys(s.kinds)) {
		all = append(all, s.kinds[kind]...)
	}
	return all
}

// For returns the definitions for a kind in order. The caller must not change
// them.
func (s *Set) For(kind string) []Definition {
	if s == nil {
		return nil
	}
	return s.kinds[kind]
}

// Equal tells whether both sets hold the same indexes.
func (s *Set) Equal(t *Set) bool {
	return s.Len() == t.Len() && !slices.ContainsFunc(s.All(), func(d Definition) bool { return !t.Has(d) })
}

func (s *Set) add(definitions []Definition) *Set {
	return NewSet(append(s.All(), definitions...)...)
}
