package planning

import (
	"encoding/binary"
	"slices"
	"strings"
)

// conjunction is terms that all hold.
type conjunction []*term

// node is a filter as a tree: a term, or a combination of other nodes.
type node struct {
	term int // its number, counted from one
	and  bool
	subs []node
}

// maxExpansion bounds the work on a filter whose disjunctions are too many
// anyway.
const maxExpansion = 1000

// normal is the disjunctive normal form: sets of terms, sorted, each once.
func (n node) normal() ([][]int, error) {
	sets, err := n.expand()
	if err == nil && len(sets) > maxDisjunctions {
		err = invalid("Too many disjunctions after normalization. Result had %d disjunctions which is more than the maximum of %d", len(sets), maxDisjunctions)
	}
	return sets, err
}

func (n node) expand() ([][]int, error) {
	switch {
	case n.term > 0:
		return [][]int{{n.term - 1}}, nil
	case n.and:
		return n.all()
	}
	var any distinct
	for _, sub := range n.subs {
		sets, err := sub.expand()
		if err != nil {
			return nil, err
		}
		for _, set := range sets {
			any.add(set)
		}
		if len(any.sets) > maxExpansion {
			return nil, errExpansion
		}
	}
	return any.sets, nil
}

// all is expand for AND. A part that says the same as an earlier one counts
// once, as it does for Google, also when they are in ANDs within the AND.
func (n node) all() ([][]int, error) {
	all := [][]int{{}}
	known := map[string]bool{}
	var take func(subs []node) error
	take = func(subs []node) error {
		for _, sub := range subs {
			if sub.and {
				if err := take(sub.subs); err != nil {
					return err
				}
				continue
			}
			sets, err := sub.expand()
			if err != nil {
				return err
			}
			id := identity(sets)
			if known[id] {
				continue
			}
			known[id] = true
			if len(known) > maxExpansion || len(all)*len(sets) > maxExpansion {
				return errExpansion
			}
			all = product(all, sets)
		}
		return nil
	}
	err := take(n.subs)
	return all, err
}

var errExpansion = invalid("Too many disjunctions after normalization, the maximum is %d", maxDisjunctions)

// product is the unions of each set of a with each of b.
func product(a, b [][]int) [][]int {
	var all distinct
	for _, x := range a {
		for _, y := range b {
			set := slices.Concat(x, y)
			slices.Sort(set)
			all.add(slices.Compact(set))
		}
	}
	return all.sets
}

// distinct collects sets, each once.
type distinct struct {
	sets  [][]int
	known map[string]bool
}

func (d *distinct) add(set []int) {
	id := identity([][]int{set})
	if d.known[id] {
		return
	}
	if d.known == nil {
		d.known = map[string]bool{}
	}
	d.known[id] = true
	d.sets = append(d.sets, set)
}

// identity is the same for the same sets in whatever order.
func identity(sets [][]int) string {
	ids := make([]string, len(sets))
	for i, set := range sets {
		id := binary.AppendUvarint(nil, uint64(len(set)))
		for _, t := range set {
			id = binary.AppendUvarint(id, uint64(t))
		}
		ids[i] = string(id)
	}
	slices.Sort(ids)
	return strings.Join(ids, "")
}
