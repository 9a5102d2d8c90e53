package storage

import (
	"cmp"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/tidwall/btree"
)

// tables are the rows of one state of a database.
type tables struct {
	tree       *btree.BTreeG[Row] // all but those of composite indexes
	repeats    repeats
	composites composites
}

func newTables() tables { return tables{tree: newTree(), repeats: newRepeats()} }

func newTree() *btree.BTreeG[Row] {
	return btree.NewBTreeGOptions(
		func(a, b Row) bool { return a.Key < b.Key },
		btree.Options{NoLocks: true})
}

// emptied is tables without rows that have the same indexes.
func (t *tables) emptied() tables {
	e := newTables()
	e.composites = t.composites.emptied()
	return e
}

// treeOf is the tree in which the row would be; nil when it would be in that of
// an index that isn't there.
func (t *tables) treeOf(row string) *btree.BTreeG[Row] {
	number, ok := encoding.CompositeNumber(row)
	if !ok {
		return t.tree
	}
	for _, c := range t.composites.all {
		if c.Form.Number == number {
			return c.tree
		}
	}
	return nil
}

// snapshot is a copy that shares what neither side changes.
func (t *tables) snapshot() tables {
	return tables{
		tree:       t.tree.Copy(),
		repeats:    t.repeats.snapshot(),
		composites: t.composites.snapshot(),
	}
}

// put replaces the rows of the entity with the given entity row by those of
// another version of it, nil being none. It returns the version that was there,
// and how many index entries changed as Datastore counts them: the entity when it
// comes or goes, two for each property row, one for either direction, and each composite row.
func (t *tables) put(key string, after *Entity) (before *Entity, updates int) {
	var rows, old []string
	var was Row
	if after != nil {
		rows = after.rows
		was, _ = t.tree.Set(Row{Key: rows[0], Entity: after}) // not key, which has memory of its own
	} else {
		was, _ = t.tree.Delete(Row{Key: key})
	}
	if (was.Entity == nil) != (after == nil) {
		updates++
	}
	// The entity row and the kind row follow from the key alone; the property
	// rows are sorted, so one walk over both finds what is gone.
	if before = was.Entity; before != nil {
		old = before.rows
		if after == nil {
			t.tree.Delete(Row{Key: old[1]})
		}
		var stay []string
		if after != nil {
			stay = rows[2:]
		}
		for _, row := range old[2:] {
			for len(stay) > 0 && stay[0] < row {
				stay = stay[1:]
			}
			if len(stay) == 0 || stay[0] != row {
				t.tree.Delete(Row{Key: row})
				updates += 2
			}
		}
	}
	for i, row := range rows {
		if i == 0 {
			continue // set above
		}
		if _, replaced := t.tree.Set(Row{Key: row, Entity: after}); !replaced && i >= 2 {
			updates += 2
		}
	}
	t.repeats.add(before, -1)
	t.repeats.add(after, 1)
	if some := cmp.Or(after, before); some != nil {
		for _, c := range t.composites.of(some.rows) {
			updates += c.put(before, after)
		}
	}
	return before, updates
}
