package planning

import (
	"encoding/binary"
	"slices"
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
	if n.term > 0 {
		return [][]int{{n.term - 1}}, nil
	}
	var all [][]int
	if n.and {
		all = [][]int{{}}
	}
	for _, sub := range n.subs {
		sets, err := sub.expand()
		if err != nil {
			return nil, err
		}
		if n.and {
			if len(all)*len(sets) > maxExpansion {
				return nil, errExpansion
			}
			all = product(all, sets)
		} else {
			all = append(all, sets...)
		}
		all = unique(all)
		if len(all) > maxExpansion {
			return nil, errExpansion
		}
	}
	return all, nil
}

var errExpansion = invalid("Too many disjunctions after normalization, the maximum is %d", maxDisjunctions)

// product is the unions of each set of a with each of b.
func product(a, b [][]int) [][]int {
	all := make([][]int, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			set := slices.Concat(x, y)
			slices.Sort(set)
			all = append(all, slices.Compact(set))
		}
	}
	return all
}

// unique drops sets that came before, in place.
func unique(sets [][]int) [][]int {
	seen := make(map[string]bool, len(sets))
	return slices.DeleteFunc(sets, func(set []int) bool {
		var id []byte
		for _, t := range set {
			id = binary.AppendUvarint(id, uint64(t))
		}
		before := seen[string(id)]
		seen[string(id)] = true
		return before
	})
}
