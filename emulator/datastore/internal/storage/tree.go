package storage

import "slices"

// tree is rows in their order, in a B+ tree whose copies share what neither of
// them has changed since. There may be millions of rows, so its leaves are kept
// full: a full leaf gives to its neighbours before it is split, and what it has
// allocated grows with it. Every child is counted, which makes ranks cheap.
//
// It may be read by several goroutines while none of them writes. Copies are
// independent of each other.
type tree struct {
	root  *node
	owner *owner
	spare [nodeMax/nodeGrow + 2][]Row // of leaves that have grown or shrunk, by their room: one of each
}

// owner is whose nodes may be changed in place: those of others are shared.
type owner struct{ _ byte }

const (
	nodeMax   = 64          // rows of a leaf, children of another node
	nodeGrow  = 8           // rows by which a leaf grows
	nodeMerge = nodeMax / 4 // what has less looks for a neighbour to join
)

// node is a leaf, which has rows, or has children; only a root may be empty.
type node struct {
	owner    *owner
	rows     []Row
	children []child
}

type child struct {
	node  *node
	first Row
	count int // rows
}

func newTree() *tree {
	o := new(owner)
	return &tree{root: &node{owner: o}, owner: o}
}

// newTreeOf is the tree of n rows in their order, which row returns to several
// goroutines.
func newTreeOf(n int, row func(i int) Row) *tree {
	t := newTree()
	if n == 0 {
		return t
	}
	level := make([]child, (n+nodeMax-1)/nodeMax)
	inParts(len(level), nodeMax, func(_, from, to int) {
		for i := from; i < to; i++ {
			leaf := &node{owner: t.owner, rows: make([]Row, min(nodeMax, n-i*nodeMax))}
			for j := range leaf.rows {
				leaf.rows[j] = row(i*nodeMax + j)
			}
			level[i] = childOf(leaf)
		}
	})
	for len(level) > 1 {
		var above []child
		for part := range slices.Chunk(level, nodeMax) {
			above = append(above, childOf(&node{owner: t.owner, children: slices.Clone(part)}))
		}
		level = above
	}
	t.root = level[0].node
	return t
}

// Copy takes constant time; from then on both trees copy the nodes that they change.
func (t *tree) Copy() *tree {
	t.owner = new(owner)
	return &tree{root: t.root, owner: new(owner)}
}

// Len is how many rows there are.
func (t *tree) Len() int { return t.root.count() }

func (n *node) leaf() bool { return len(n.children) == 0 }

func (n *node) count() int {
	if n.leaf() {
		return len(n.rows)
	}
	sum := 0
	for i := range n.children {
		sum += n.children[i].count
	}
	return sum
}

// len is how many rows or children the node itself has.
func (n *node) len() int { return len(n.rows) + len(n.children) }

func (n *node) first() Row {
	if n.leaf() {
		return n.rows[0]
	}
	return n.children[0].first
}

func childOf(n *node) child { return child{node: n, first: n.first(), count: n.count()} }

// find is where the row is in a leaf, or would be.
func (n *node) find(key Row) (i int, found bool) {
	lo, hi := 0, len(n.rows)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := n.rows[mid].compare(key); {
		case c < 0:
			lo = mid + 1
		case c == 0:
			return mid, true
		default:
			hi = mid
		}
	}
	return lo, false
}

// branch is the child in which the row is, or would be.
func (n *node) branch(key Row) int {
	lo, hi := 1, len(n.children)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if n.children[mid].first.compare(key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// Get returns the row that equals key.
func (t *tree) Get(key Row) (Row, bool) {
	n := t.root
	for !n.leaf() {
		n = n.children[n.branch(key)].node
	}
	if i, found := n.find(key); found {
		return n.rows[i], true
	}
	return Row{}, false
}

// Rank is the number of rows smaller than key.
func (t *tree) Rank(key Row) (rank int) {
	n := t.root
	for !n.leaf() {
		i := n.branch(key)
		for _, c := range n.children[:i] {
			rank += c.count
		}
		n = n.children[i].node
	}
	i, _ := n.find(key)
	return rank + i
}

// own is the node itself, or a copy of it that the tree may change.
func (t *tree) own(n *node) *node {
	if n.owner == t.owner {
		return n
	}
	return &node{owner: t.owner, rows: slices.Clone(n.rows), children: slices.Clone(n.children)}
}

// Set puts a row, and returns the one that it replaces.
func (t *tree) Set(row Row) (was Row, replaced bool) {
	t.root = t.own(t.root)
	was, replaced = t.set(t.root, row)
	if t.root.len() > nodeMax {
		left, right := t.split(t.root)
		t.root = &node{owner: t.owner, children: []child{childOf(left), childOf(right)}}
	}
	return was, replaced
}

// set may leave the node with one row or child too many.
func (t *tree) set(n *node, row Row) (was Row, replaced bool) {
	if n.leaf() {
		i, found := n.find(row)
		if found {
			was, n.rows[i] = n.rows[i], row
			return was, true
		}
		if len(n.rows) == cap(n.rows) {
			t.refill(n, append(t.room(len(n.rows)+1), n.rows...))
		}
		n.rows = slices.Insert(n.rows, i, row)
		return was, false
	}
	i := n.branch(row)
	c := &n.children[i]
	c.node = t.own(c.node)
	was, replaced = t.set(c.node, row)
	if c.node.len() <= nodeMax {
		if !replaced {
			c.count++
		}
		c.first = c.node.first()
		return was, replaced
	}
	if c.node.leaf() && (t.level(n, i-1) || t.level(n, i)) {
		return was, replaced
	}
	left, right := t.split(c.node)
	n.children[i] = childOf(left)
	n.children = slices.Insert(n.children, i+1, childOf(right))
	return was, replaced
}

// room is an empty slice with room for at least n rows.
func (t *tree) room(n int) []Row {
	size := (n + nodeGrow - 1) / nodeGrow
	if rows := t.spare[size]; rows != nil {
		t.spare[size] = nil
		return rows
	}
	return make([]Row, 0, size*nodeGrow)
}

// refill gives a leaf of the tree's own other rows. The room of those before may
// be used again: half of what a load of data allocates would be such room.
func (t *tree) refill(n *node, rows []Row) {
	was := n.rows[:cap(n.rows)]
	n.rows = rows
	if size := len(was) / nodeGrow; len(was)%nodeGrow == 0 && size < len(t.spare) {
		clear(was)
		t.spare[size] = was[:0]
	}
}

// split cuts a node in two halves.
func (t *tree) split(n *node) (left, right *node) {
	right = &node{owner: t.owner}
	if mid := n.len() / 2; n.leaf() {
		right.rows = append(t.room(n.len()-mid), n.rows[mid:]...)
		t.refill(n, append(t.room(mid), n.rows[:mid]...))
	} else {
		right.children = slices.Clone(n.children[mid:])
		n.children = slices.Clone(n.children[:mid])
	}
	return n, right
}

// level shares out the rows of the leaves i and i+1, if that leaves room in both.
func (t *tree) level(n *node, i int) bool {
	if i < 0 || i+1 >= len(n.children) {
		return false
	}
	a, b := n.children[i].node, n.children[i+1].node
	total := a.len() + b.len()
	if total > 2*nodeMax-nodeGrow {
		return false
	}
	a, b = t.own(a), t.own(b)
	mid := total / 2
	left, right := t.room(mid), t.room(total-mid)
	for _, rows := range [][]Row{a.rows, b.rows} {
		n := min(len(rows), mid-len(left))
		left, right = append(left, rows[:n]...), append(right, rows[n:]...)
	}
	t.refill(a, left)
	t.refill(b, right)
	n.children[i], n.children[i+1] = childOf(a), childOf(b)
	return true
}

// Delete takes the row that equals key out.
func (t *tree) Delete(key Row) (was Row, found bool) {
	if was, found = t.Get(key); !found {
		return was, false
	}
	t.root = t.own(t.root)
	t.remove(t.root, key)
	for len(t.root.children) == 1 {
		t.root = t.root.children[0].node
	}
	return was, true
}

// remove takes out a row that is there.
func (t *tree) remove(n *node, key Row) {
	if n.leaf() {
		i, _ := n.find(key)
		n.rows = slices.Delete(n.rows, i, i+1)
		return
	}
	i := n.branch(key)
	c := t.own(n.children[i].node)
	t.remove(c, key)
	if c.len() == 0 {
		n.children = slices.Delete(n.children, i, i+1)
		return
	}
	n.children[i] = childOf(c)
	if c.len() < nodeMerge && !t.merge(n, i-1) {
		t.merge(n, i)
	}
}

// merge makes one node of the children i and i+1, if it isn't too full then.
func (t *tree) merge(n *node, i int) bool {
	if i < 0 || i+1 >= len(n.children) {
		return false
	}
	a, b := n.children[i].node, n.children[i+1].node
	if a.len()+b.len() > nodeMax-nodeMerge {
		return false
	}
	both := &node{owner: t.owner}
	if a.leaf() {
		both.rows = slices.Concat(a.rows, b.rows)
	} else {
		both.children = slices.Concat(a.children, b.children)
	}
	n.children[i] = childOf(both)
	n.children = slices.Delete(n.children, i+1, i+2)
	return true
}
