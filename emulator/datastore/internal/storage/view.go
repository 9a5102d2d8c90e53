package storage

import "github.com/tidwall/btree"

// View reads one state of a database: the live one inside DB.Read, or a
// snapshot, which stays as it is.
type View struct {
	tables
	Version int64 // of the newest commit in it; 0 when there has been none
	Time    int64 // µs: the time that it speaks for; 0 for the live state, see DB.TimeOf
}

// Get returns the entity with the given entity row, or nil.
func (v View) Get(entityRow string) *Entity {
	row, _ := v.tree.Get(Row{Head: entityRow})
	return row.Entity
}

// Ascend calls f with the rows in [lo, hi) in ascending order until it returns
// false; hi "" has no bound.
func (v View) Ascend(lo, hi string, f func(Row) bool) {
	tree := v.treeOf(lo)
	if tree == nil {
		return
	}
	tree.Ascend(Row{Head: lo}, func(r Row) bool {
		return (hi == "" || r.before(hi)) && f(r)
	})
}

// Descend is Ascend in descending order, over the same rows.
func (v View) Descend(lo, hi string, f func(Row) bool) {
	tree := v.treeOf(lo)
	if tree == nil {
		return
	}
	visit := func(r Row) bool {
		return hi != "" && !r.before(hi) || !r.before(lo) && f(r)
	}
	if hi == "" {
		tree.Reverse(visit)
		return
	}
	tree.Descend(Row{Head: hi}, visit)
}

// Count is the number of rows in [lo, hi), in logarithmic time.
func (v View) Count(lo, hi string) int {
	tree := v.treeOf(lo)
	if tree == nil {
		return 0
	}
	to := tree.Len()
	if hi != "" {
		to = rank(tree, hi)
	}
	return max(0, to-rank(tree, lo))
}

// rank is the number of rows smaller than key.
func rank(tree *btree.BTreeG[Row], key string) int {
	lo, hi := 0, tree.Len()
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if row, _ := tree.GetAt(mid); row.before(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
