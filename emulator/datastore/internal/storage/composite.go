package storage

import (
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
)

// Composite is a composite index that has its rows.
type Composite struct {
	Definition indexes.Definition
	Form       encoding.Composite

	tree    *tree
	repeats int // entities that have several rows, for one ancestor
}

// composites are the composite indexes of one state of a database. The slices
// and the map are never changed, the indexes' trees are.
type composites struct {
	all    []*Composite
	byKind map[string][]*Composite
	gone   []*encoding.Composite // the last dropped ones: transactions may still hold intervals of their rows
}

const maxGone = 100

func newComposites(all []*Composite, gone []*encoding.Composite) composites {
	c := composites{all: all, gone: gone[max(0, len(gone)-maxGone):]}
	if len(all) > 0 {
		c.byKind = map[string][]*Composite{}
	}
	for _, x := range all {
		c.byKind[x.Definition.Kind] = append(c.byKind[x.Definition.Kind], x)
	}
	return c
}

// snapshot is a copy that shares what neither side changes.
func (c composites) snapshot() composites {
	return c.each(func(x Composite) Composite {
		x.tree = x.tree.Copy()
		return x
	})
}

// emptied is the same indexes without rows.
func (c composites) emptied() composites {
	return c.each(func(x Composite) Composite {
		x.tree, x.repeats = newTree(), 0
		return x
	})
}

func (c composites) each(f func(Composite) Composite) composites {
	if len(c.all) == 0 {
		return c
	}
	all := make([]*Composite, len(c.all))
	for i, x := range c.all {
		own := f(*x)
		all[i] = &own
	}
	return newComposites(all, c.gone)
}

// of is the indexes of the kind of the entity with these rows.
func (c composites) of(rows encoding.Rows) []*Composite {
	if len(c.all) == 0 {
		return nil
	}
	_, kind, err := encoding.CutKindRow(rows.Head(1))
	if err != nil {
		return nil
	}
	return c.byKind[kind]
}

// newForm lays out the rows of an index. Their keys go with the definition's
// __key__, or else with the last property, and always ascend: instead of
// descending, everything else is turned round.
func newForm(d indexes.Definition, number uint32) encoding.Composite {
	f := encoding.Composite{Number: number, Kind: d.Kind, Ancestor: d.Ancestor, KeyAt: -1}
	desc := false
	for _, p := range d.Properties {
		desc = p.Desc
		if p.Name == indexes.KeyProperty {
			f.KeyAt = len(f.Properties)
			break
		}
		f.Properties = append(f.Properties, encoding.CompositeProperty{Name: p.Name})
	}
	f.Properties = nil
	for _, p := range d.Properties {
		if p.Name != indexes.KeyProperty {
			f.Properties = append(f.Properties, encoding.CompositeProperty{Name: p.Name, Complemented: p.Desc != desc})
		}
	}
	if f.KeyAt < 0 {
		f.KeyAt = len(f.Properties)
	}
	return f
}

// TooManyEntriesError says that an entity would have too many index entries, or
// too large ones, and which index is the one too many.
type TooManyEntriesError struct{ text string }

func (e *TooManyEntriesError) Error() string { return e.text }

// checkComposites checks that the composite indexes can take the entity.
func (t *tables) checkComposites(e *Entity) error {
	return checkEntries(e, t.composites.of(e.rows)...)
}

// checkEntries checks what an entity has in all the indexes together.
func checkEntries(e *Entity, in ...*Composite) error {
	entries, size := e.rows.Len()-encoding.FirstProperty, 0
	for _, c := range in {
		n, bytes := c.Form.Size(e.rows)
		entries, size = entries+n, size+bytes
		if entries > encoding.MaxIndexEntries {
			return &TooManyEntriesError{fmt.Sprintf("an entity has at most %d index entries; the index of %s exceeds that", encoding.MaxIndexEntries, c.Form.Name())}
		}
		if size > encoding.MaxCompositeBytes {
			return &TooManyEntriesError{fmt.Sprintf("the composite index entries of an entity have at most %d bytes; the index of %s exceeds that", encoding.MaxCompositeBytes, c.Form.Name())}
		}
	}
	return nil
}

// put replaces the rows of one version of an entity by those of another, either
// of which may be nil. It returns how many rows came or went.
func (c *Composite) put(before, after *Entity) (updates int) {
	var old, now []string
	if before != nil {
		old = c.Form.Rows(nil, before.rows)
	}
	if after != nil {
		now = c.Form.Rows(nil, after.rows)
	}
	c.repeats += c.repeated(after) - c.repeated(before)
	slices.Sort(now)
	for _, row := range old {
		if _, stays := slices.BinarySearch(now, row); !stays {
			c.tree.Delete(Row{Head: row})
			updates++
		}
	}
	for _, row := range now {
		if _, replaced := c.tree.Set(Row{Head: row, Entity: after}); !replaced {
			updates++
		}
	}
	return updates
}

// repeated is 1 for entities that have several rows for one ancestor.
func (c *Composite) repeated(e *Entity) int {
	if e == nil || !e.Repeats() {
		return 0
	}
	flat := c.Form
	flat.Ancestor = false
	if n, _ := flat.Size(e.rows); n > 1 {
		return 1
	}
	return 0
}

// Repeats reports whether some entity has several rows, for one ancestor.
func (c *Composite) Repeats() bool { return c.repeats > 0 }

// SetIndexes makes the composite indexes of all databases those of set: the rows
// of new ones are built, those of others are dropped. An index is left out, and
// the log says so, when an entity has more entries than an index may take.
func (s *Store) SetIndexes(set *indexes.Set) {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	s.mu.Lock()
	forms := make(map[string]*Composite, set.Len())
	for _, d := range set.All() {
		key := d.Key()
		if c := s.indexes[key]; c != nil {
			forms[key] = c
			continue
		}
		s.numbers++
		forms[key] = &Composite{Definition: d, Form: newForm(d, s.numbers)}
	}
	s.indexes = forms
	s.mu.Unlock()
	for _, db := range s.All() {
		db.setIndexes(forms)
	}
}

// setIndexes keeps the indexes that are there and asked for, and builds others.
func (db *DB) setIndexes(forms map[string]*Composite) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var all []*Composite
	gone := slices.Clone(db.tables.composites.gone)
	there := map[uint32]bool{}
	for _, c := range db.tables.composites.all {
		if f := forms[c.Definition.Key()]; f != nil && f.Form.Number == c.Form.Number {
			all = append(all, c)
			there[c.Form.Number] = true
		} else {
			gone = append(gone, &c.Form)
		}
	}
	for _, f := range forms {
		if there[f.Form.Number] {
			continue
		}
		c := &Composite{Definition: f.Definition, Form: f.Form, tree: newTree()}
		if err := db.tables.build(c); err != nil {
			db.store.logger.Error("datastore: an index is not built; queries sort instead", slog.Any("error", err))
			continue
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Composite) int { return a.Definition.Compare(b.Definition) })
	db.tables.composites = newComposites(all, gone)
	db.history.views = nil // they have the indexes of before
}

// build fills an index with the rows of all entities of its kind. It doesn't look
// what they have in others: commits do.
func (t *tables) build(c *Composite) error {
	var rows []Row
	var buf []string
	for prefix := range t.kinds(c.Definition.Kind) {
		var err error
		View{tables: *t}.Ascend(prefix, encoding.PrefixEnd(prefix), func(r Row) bool {
			if err = checkEntries(r.Entity, c); err != nil {
				return false
			}
			c.repeats += c.repeated(r.Entity)
			buf = c.Form.Rows(buf[:0], r.Entity.rows)
			for _, row := range buf {
				rows = append(rows, Row{Head: row, Entity: r.Entity})
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	items := sortRows(rows)
	c.tree = newTreeOf(len(rows), func(i int) Row { return rows[items[i].of] })
	return nil
}

// kinds yields what the rows of the kind start with, for each namespace with
// entities of it.
func (t *tables) kinds(kind string) iter.Seq[string] {
	return func(yield func(string) bool) {
		next, namespace := encoding.AllKinds, ""
		for {
			found := false
			View{tables: *t}.Ascend(next, encoding.PrefixEnd(encoding.AllKinds), func(r Row) bool {
				var err error
				namespace, _, err = encoding.CutKindRow(r.Head)
				found = err == nil
				return false
			})
			if !found || !yield(encoding.KindPrefix(namespace, kind)) {
				return
			}
			next = encoding.PrefixEnd(encoding.KindsPrefix(namespace))
		}
	}
}

// Composites is the composite indexes of a kind.
func (v View) Composites(kind string) []*Composite { return v.composites.byKind[kind] }

// Keeps reports whether this state has such rows as the given one: it lacks those
// of indexes that came later or went before.
func (v View) Keeps(row string) bool { return v.treeOf(row) != nil }

// RowsOf yields all rows that the entity has or would have in this state, and
// those that it would have in indexes that were dropped of late.
func (v View) RowsOf(e *Entity) iter.Seq[string] {
	return func(yield func(string) bool) {
		for row := range e.rows.All() {
			if !yield(row) {
				return
			}
		}
		if len(v.composites.all)+len(v.composites.gone) == 0 {
			return
		}
		_, kind, err := encoding.CutKindRow(e.rows.Head(1))
		if err != nil {
			return
		}
		forms := slices.Clone(v.composites.gone)
		for _, c := range v.composites.byKind[kind] {
			forms = append(forms, &c.Form)
		}
		for _, form := range forms {
			if form.Kind != kind {
				continue
			}
			for _, row := range form.Rows(nil, e.rows) {
				if !yield(row) {
					return
				}
			}
		}
	}
}
