package storage

// Walk moves over the rows of a View, one tree of them. It is valid as long as
// its View.
type Walk struct {
	tree  *tree
	above []turn // from the root to the leaf
	leaf  *node
	at    int // the row in the leaf, if the Walk stands anywhere
	ok    bool
}

// turn is which child of a node is on the way.
type turn struct {
	node  *node
	child int
}

// Walk returns a Walk that stands nowhere, over the tree in which the given row
// would be; nil says that this state has no such tree.
func (v View) Walk(row string) *Walk {
	tree := v.treeOf(row)
	if tree == nil {
		return nil
	}
	return &Walk{tree: tree}
}

// Row is where the Walk stands, if it stands anywhere.
func (w *Walk) Row() (row Row, ok bool) {
	if w.ok {
		row = w.leaf.rows[w.at]
	}
	return row, w.ok
}

// SeekUp moves to the first row that is not smaller than key.
func (w *Walk) SeekUp(key string) {
	w.seek(key)
	if w.ok = w.at < len(w.leaf.rows); !w.ok {
		w.turn(1)
	}
}

// SeekDown moves to the last row that is smaller than key.
func (w *Walk) SeekDown(key string) {
	w.seek(key)
	w.at--
	if w.ok = w.at >= 0; !w.ok {
		w.turn(-1)
	}
}

// seek goes to the leaf in which the key would be, and to its place there.
func (w *Walk) seek(key string) {
	row := Row{Head: key}
	w.above, w.leaf = w.above[:0], w.tree.root
	for !w.leaf.leaf() {
		i := w.leaf.branch(row)
		w.above = append(w.above, turn{w.leaf, i})
		w.leaf = w.leaf.children[i].node
	}
	w.at, _ = w.leaf.find(row)
}

// Up moves to the next row. Having run out, only a seek leads back.
func (w *Walk) Up() {
	if !w.ok {
		return
	}
	if w.at++; w.at == len(w.leaf.rows) {
		w.turn(1)
	}
}

// Down moves to the row before. Having run out, only a seek leads back.
func (w *Walk) Down() {
	if !w.ok {
		return
	}
	if w.at--; w.at < 0 {
		w.turn(-1)
	}
}

// turn goes to the nearest row of the next leaf (by 1) or of the one before (by
// -1), if there is one.
func (w *Walk) turn(by int) {
	w.ok = false
	for depth := len(w.above) - 1; depth >= 0; depth-- {
		t := &w.above[depth]
		if i := t.child + by; i >= 0 && i < len(t.node.children) {
			t.child, w.above = i, w.above[:depth+1]
			w.ok = true
			break
		}
	}
	if !w.ok {
		return
	}
	last := w.above[len(w.above)-1]
	for w.leaf = last.node.children[last.child].node; !w.leaf.leaf(); w.leaf = w.leaf.children[last.child].node {
		last = turn{w.leaf, 0}
		if by < 0 {
			last.child = len(w.leaf.children) - 1
		}
		w.above = append(w.above, last)
	}
	w.at = 0
	if by < 0 {
		w.at = len(w.leaf.rows) - 1
	}
}
