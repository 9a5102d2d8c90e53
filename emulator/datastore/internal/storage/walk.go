package storage

import "github.com/tidwall/btree"

// Walk moves over the rows of a View, one tree of them. It is valid as long as
// its View.
type Walk struct {
	it  btree.IterG[Row]
	row Row
	ok  bool
}

// Walk returns a Walk that stands nowhere, over the tree in which the given row
// would be; nil says that this state has no such tree.
func (v View) Walk(row string) *Walk {
	tree := v.treeOf(row)
	if tree == nil {
		return nil
	}
	return &Walk{it: tree.Iter()}
}

// Row is where the Walk stands, if it stands anywhere.
func (w *Walk) Row() (Row, bool) { return w.row, w.ok }

// SeekUp moves to the first row that is not smaller than key.
func (w *Walk) SeekUp(key string) { w.at(w.it.Seek(Row{Head: key})) }

// SeekDown moves to the last row that is smaller than key.
func (w *Walk) SeekDown(key string) {
	if w.it.Seek(Row{Head: key}) {
		w.at(w.it.Prev())
		return
	}
	w.at(w.it.Last())
}

// Up moves to the next row. Having run out, only a seek leads back.
func (w *Walk) Up() { w.at(w.ok && w.it.Next()) }

// Down moves to the row before. Having run out, only a seek leads back.
func (w *Walk) Down() { w.at(w.ok && w.it.Prev()) }

// at takes over where the iterator stands.
func (w *Walk) at(ok bool) {
	w.ok = ok
	if ok {
		w.row = w.it.Item()
	} else {
		w.row = Row{}
	}
}
