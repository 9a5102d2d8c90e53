package storage

import (
	"cmp"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// tables are the rows of one state of a database.
type tables struct {
	tree       *tree // all but those of composite indexes
	repeats    repeats
	composites composites
}

func newTables() tables { return tables{tree: newTree(), repeats: newRepeats()} }

// emptied is tables without rows that have the same indexes.
func (t *tables) emptied() tables {
	e := newTables()
	e.composites = t.composites.emptied()
	return e
}

// treeOf is the tree in which the row would be; nil when it would be in that of
// an index that isn't there.
func (t *tables) treeOf(row string) *tree {
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
	var was Row
	if after != nil {
		was, _ = t.tree.Set(after.row(0))
	} else {
		was, _ = t.tree.Delete(Row{Head: key})
	}
	if (was.Entity == nil) != (after == nil) {
		updates++
	}
	// The entity row and the kind row follow from the key alone; the property
	// rows are sorted, so one walk over both finds what is gone.
	if before = was.Entity; before != nil {
		if after == nil {
			t.tree.Delete(before.row(1))
		}
		stays := encoding.FirstProperty
		for i := encoding.FirstProperty; i < before.rows.Len(); i++ {
			head := before.rows.Head(i)
			if after != nil {
				for stays < after.rows.Len() && after.rows.Head(stays) < head {
					stays++
				}
				if stays < after.rows.Len() && after.rows.Head(stays) == head {
					continue
				}
			}
			t.tree.Delete(before.row(i))
			updates += 2
		}
	}
	if after != nil {
		for i := 1; i < after.rows.Len(); i++ { // 0 is set above
			if _, replaced := t.tree.Set(after.row(i)); !replaced && i >= encoding.FirstProperty {
				updates += 2
			}
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
