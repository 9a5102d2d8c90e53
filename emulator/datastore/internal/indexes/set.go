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
	for _, d := range definitions {
		s.kinds[d.Kind] = append(s.kinds[d.Kind], d)
	}
	for kind, of := range s.kinds {
		slices.SortFunc(of, Definition.Compare)
		of = slices.CompactFunc(of, Definition.Equal)
		s.kinds[kind] = of
		s.n += len(of)
	}
	return s
}

// With returns s and d.
func (s *Set) With(d Definition) *Set {
	at, has := s.find(d)
	if has {
		return s
	}
	return s.replaced(d.Kind, slices.Insert(slices.Clone(s.For(d.Kind)), at, d))
}

// Without returns s without d.
func (s *Set) Without(d Definition) *Set {
	at, has := s.find(d)
	if !has {
		return s
	}
	return s.replaced(d.Kind, slices.Delete(slices.Clone(s.For(d.Kind)), at, at+1))
}

// replaced returns s with other indexes of one kind.
func (s *Set) replaced(kind string, of []Definition) *Set {
	t := &Set{kinds: map[string][]Definition{}, n: s.Len() - len(s.For(kind)) + len(of)}
	if s != nil {
		maps.Copy(t.kinds, s.kinds)
	}
	t.kinds[kind] = of
	return t
}

func (s *Set) find(d Definition) (at int, has bool) {
	return slices.BinarySearchFunc(s.For(d.Kind), d, Definition.Compare)
}

// Has tells whether d is in s.
func (s *Set) Has(d Definition) bool {
	_, has := s.find(d)
	return has
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
