package storage

import "github.com/tidwall/btree"

// repeats counts, for what the rows of a property start with, the entities that
// have several of them: where there are none, rows count entities.
type repeats struct{ tree *btree.BTreeG[repeat] }

type repeat struct {
	prefix   string
	entities int
}

func newRepeats() repeats {
	return repeats{tree: btree.NewBTreeGOptions(
		func(a, b repeat) bool { return a.prefix < b.prefix },
		btree.Options{NoLocks: true})}
}

func (r repeats) snapshot() repeats { return repeats{tree: r.tree.Copy()} }

// add counts the entity (nil: none) n times.
func (r repeats) add(e *Entity, n int) {
	if e == nil || !e.Repeats() {
		return
	}
	for prefix := range e.rows.Repeated() {
		r.count(prefix, n)
	}
}

// count counts n entities that have several rows of what starts with the prefix.
func (r repeats) count(prefix string, n int) {
	was, _ := r.tree.Get(repeat{prefix: prefix})
	if was.entities+n == 0 {
		r.tree.Delete(was)
		return
	}
	r.tree.Set(repeat{prefix: prefix, entities: was.entities + n})
}

// Repeats reports whether some entity has several rows of the property whose
// rows start with the prefix.
func (v View) Repeats(propertyPrefix string) bool {
	_, some := v.repeats.tree.Get(repeat{prefix: propertyPrefix})
	return some
}
