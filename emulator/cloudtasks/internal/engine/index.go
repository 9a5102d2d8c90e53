package engine

import "github.com/tidwall/btree"

// byID are the tasks of a queue in the order of their ids. The first bytes of an
// id stand beside the task, so that a search seldom has to look at tasks.
type byID struct {
	tree  *btree.BTreeG[entry]
	probe task // stands for an id that is looked for
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

// load is set, and faster for a task that comes after all others.
func (x *byID) load(t *task) (old *task) {
	e, _ := x.tree.Load(entryOf(t))
	return e.task
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
