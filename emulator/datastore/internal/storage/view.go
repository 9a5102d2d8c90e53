package storage

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
	w := Walk{tree: tree}
	w.SeekUp(lo)
	for range v.Count(lo, hi) { // saves to compare each of them
		if row, _ := w.Row(); !f(row) {
			return
		}
		w.Up()
	}
}

// Count is the number of rows in [lo, hi), in logarithmic time.
func (v View) Count(lo, hi string) int {
	tree := v.treeOf(lo)
	if tree == nil {
		return 0
	}
	to := tree.Len()
	if hi != "" {
		to = tree.Rank(Row{Head: hi})
	}
	return max(0, to-tree.Rank(Row{Head: lo}))
}
