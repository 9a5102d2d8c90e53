package engine

import (
	"cmp"
	"slices"

	"github.com/tidwall/btree"
)

// byID are the tasks of a queue in the order of their ids. The first bytes of an
// id stand beside the task, so that a search seldom has to look at tasks.
type byID struct {
	tree   *btree.BTreeG[entry]
	probe  task    // stands for an id that is looked for
	loaded []entry // by load, to be settled
}

type entry struct {
	prefix uint64
	task   *task
}

func (a entry) before(b entry) bool {
	return a.prefix < b.prefix || a.prefix == b.prefix && a.task.id() < b.task.id()
}

func newByID() *byID {
	return &byID{tree: btree.NewBTreeGOptions(entry.before, btree.Options{NoLocks: true})}
}

func entryOf(t *task) entry {
	e := entry{task: t}
	id := t.id()
	for i := range 8 {
		e.prefix <<= 8
		if i < len(id) {
			e.prefix |= uint64(id[i])
		}
	}
	return e
}

// at is an entry for the id.
func (x *byID) at(id string) entry {
	x.probe = task{text: id, idLen: uint16(min(len(id), maxID+1))}
	return entryOf(&x.probe)
}

func (x *byID) len() int { return x.tree.Len() }

func (x *byID) get(id string) *task {
	e, _ := x.tree.Get(x.at(id))
	return e.task
}

// set adds t in place of a task with the same id, which it returns.
func (x *byID) set(t *task) (old *task) {
	e, _ := x.tree.Set(entryOf(t))
	return e.task
}

// maxLoaded bounds the tasks that are loaded and not settled.
const maxLoaded = 1 << 16

// load is set for many tasks: none is there before settle, which must come before
// any other use, and after maxLoaded of them at the latest.
func (x *byID) load(t *task) (full bool) {
	x.loaded = append(x.loaded, entryOf(t))
	return len(x.loaded) == maxLoaded
}

// settle adds what was loaded in the order of ids, for which the tree need not be
// searched anew each time. It calls f for tasks that others with their ids, loaded
// later, have replaced.
func (x *byID) settle(f func(old *task)) {
	slices.SortFunc(x.loaded, func(a, b entry) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return cmp.Or(cmp.Compare(a.task.id(), b.task.id()), cmp.Compare(a.task.seq, b.task.seq))
	})
	var hint btree.PathHint
	for _, e := range x.loaded {
		if old, ok := x.tree.SetHint(e, &hint); ok {
			f(old.task)
		}
	}
	x.loaded = nil
}

func (x *byID) delete(t *task) { x.tree.Delete(entryOf(t)) }

// from calls f for the tasks from an id on until it returns false.
func (x *byID) from(id string, f func(t *task) bool) {
	x.tree.Ascend(x.at(id), func(e entry) bool { return f(e.task) })
}

func (x *byID) scan(f func(t *task)) {
	x.tree.Scan(func(e entry) bool {
		f(e.task)
		return true
	})
}
