package transactions

import (
	"slices"
	"strings"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/tidwall/btree"
)

// Range is the interval [Lo, Hi) of rows; neither bound is empty.
type Range struct{ Lo, Hi string }

func (r Range) contains(row string) bool { return r.Lo <= row && row < r.Hi }

func (r Range) overlaps(o Range) bool { return r.Lo < o.Hi && o.Lo < r.Hi }

// Footprint is what a request touches: entities by their entity rows, missing
// ones too, and the intervals of rows that it went through, gaps included.
type Footprint struct {
	Keys   []string
	Ranges []Range
}

// overlaps reports whether the rows of f that others may write meet o.
func (f *Footprint) overlaps(o *Footprint) bool {
	for _, r := range f.Ranges {
		if slices.ContainsFunc(o.Ranges, r.overlaps) {
			return true
		}
		if slices.ContainsFunc(o.Keys, r.contains) {
			return true
		}
	}
	for _, s := range o.Ranges {
		if slices.ContainsFunc(f.Keys, s.contains) {
			return true
		}
	}
	return false
}

// locks are the keys and intervals held by open transactions. Intervals of
// different transactions never overlap, and those of one are merged.
type locks struct {
	keys   map[string]*Tx
	ranges *btree.BTreeG[heldRange]
}

type heldRange struct {
	Range
	tx *Tx
}

func newLocks() locks {
	return locks{
		keys: map[string]*Tx{},
		ranges: btree.NewBTreeGOptions(
			func(a, b heldRange) bool { return a.Lo < b.Lo },
			btree.Options{NoLocks: true, Degree: 8}),
	}
}

// overlapping calls f with the held intervals that overlap r.
func (l *locks) overlapping(r Range, f func(heldRange) bool) {
	if l.ranges.Len() == 0 {
		return
	}
	more := true
	l.ranges.Descend(heldRange{Range: r}, func(h heldRange) bool {
		if h.Lo < r.Lo && h.overlaps(r) {
			more = f(h)
		}
		return h.Lo == r.Lo // comes with the others below
	})
	if !more {
		return
	}
	l.ranges.Ascend(heldRange{Range: r}, func(h heldRange) bool {
		return h.Lo < r.Hi && f(h)
	})
}

// holders calls f with the transactions other than tx whose locks conflict
// with the footprint, until it returns false. A transaction may come twice.
func (l *locks) holders(tx *Tx, fp *Footprint, f func(*Tx, string) bool) {
	for _, k := range fp.Keys {
		if h := l.keys[k]; h != nil && h != tx && !f(h, k) {
			return
		}
		if h := l.rangeHolder(tx, k); h != nil && !f(h, k) {
			return
		}
	}
	for _, r := range fp.Ranges {
		more := true
		l.overlapping(r, func(h heldRange) bool {
			more = h.tx == tx || f(h.tx, "")
			return more
		})
		if !more {
			return
		}
		if !strings.HasPrefix(r.Lo, "E") {
			continue // rows of another sort than keys
		}
		for k, h := range l.keys {
			if h != tx && r.contains(k) && !f(h, k) {
				return
			}
		}
	}
}

// rangeHolder returns another transaction than tx that holds an interval
// around the row.
func (l *locks) rangeHolder(tx *Tx, row string) (holder *Tx) {
	if l.ranges.Len() == 0 {
		return nil
	}
	l.ranges.Descend(heldRange{Range: Range{Lo: row}}, func(h heldRange) bool {
		if h.tx != tx && h.contains(row) {
			holder = h.tx
		}
		return false
	})
	return holder
}

// rowHolder returns another transaction that holds an interval around a row
// that the mutations add, remove or rewrite.
func (l *locks) rowHolder(tx *Tx, db *storage.DB, mutations []storage.Mutation) (holder *Tx) {
	if l.ranges.Len() == 0 {
		return nil
	}
	db.Read(func(v storage.View) {
		check := func(e *storage.Entity) bool {
			if e != nil {
				for row := range v.RowsOf(e) {
					if holder = l.rangeHolder(tx, row); holder != nil {
						return true
					}
				}
			}
			return false
		}
		for i := range mutations {
			if check(v.Get(mutations[i].Key)) || check(mutations[i].Entity) {
				return
			}
		}
	})
	return holder
}

// hold gives the footprint to tx. Nothing in it conflicts.
func (l *locks) hold(tx *Tx, fp *Footprint) {
	for _, k := range fp.Keys {
		if l.keys[k] == nil {
			l.keys[k] = tx
			tx.keys = append(tx.keys, k)
		}
	}
	for _, r := range fp.Ranges {
		var own []heldRange
		l.overlapping(r, func(h heldRange) bool {
			own = append(own, h)
			return true
		})
		for _, h := range own {
			l.ranges.Delete(h)
			r.Lo, r.Hi = min(r.Lo, h.Lo), max(r.Hi, h.Hi)
		}
		l.ranges.Set(heldRange{r, tx})
		tx.ranges = append(tx.ranges, r)
	}
}

// release takes everything from tx.
func (l *locks) release(tx *Tx) {
	for _, k := range tx.keys {
		delete(l.keys, k)
	}
	for _, r := range tx.ranges {
		if h, ok := l.ranges.Get(heldRange{Range: r}); ok && h.tx == tx {
			l.ranges.Delete(h)
		}
	}
	tx.keys, tx.ranges = nil, nil
}
