package storage

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// all is the rows of a tree, gone through upwards.
func (t *tree) all() (rows []Row) {
	w := Walk{tree: t}
	for w.SeekUp(""); w.ok; w.Up() {
		rows = append(rows, w.leaf.rows[w.at])
	}
	return rows
}

// check checks what holds for every node; it returns how many rows leaves have
// room for.
func (t *tree) check(tb rapid.TB) (room int) {
	var check func(n *node, depth int) (leaves int)
	check = func(n *node, depth int) int {
		if n != t.root && n.len() == 0 || n.len() > nodeMax {
			tb.Fatalf("a node of %d", n.len())
		}
		if n.leaf() {
			room += cap(n.rows)
			return depth
		}
		at := -1
		for i, c := range n.children {
			if c.count != c.node.count() || c.first != c.node.first() {
				tb.Fatalf("child %d begins with %q and counts %d; want %q and %d", i, c.first.Head, c.count, c.node.first().Head, c.node.count())
			}
			if d := check(c.node, depth+1); at >= 0 && at != d {
				tb.Fatalf("leaves in depths %d and %d", at, d)
			} else {
				at = d
			}
		}
		return at
	}
	check(t.root, 0)
	return room
}

// TestTree compares a tree, and copies taken on the way, with a sorted slice.
func TestTree(t *testing.T) {
	type pair struct {
		tree  *tree
		model []Row
	}
	find := func(rows []Row, key string) (int, bool) {
		return slices.BinarySearchFunc(rows, Row{Head: key}, Row.compare)
	}
	rapid.Check(t, func(r *rapid.T) {
		same := func(p pair) {
			p.tree.check(r)
			if got := p.tree.all(); !slices.Equal(got, p.model) {
				r.Fatalf("%d rows %v; want %d: %v", len(got), got, len(p.model), p.model)
			}
		}
		key := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("C%04d", rapid.IntRange(0, 2000).Draw(t, "key")) })
		var initial []Row
		for _, k := range slices.Sorted(slices.Values(rapid.SliceOfNDistinct(key, 0, 300, rapid.ID).Draw(r, "initial"))) {
			initial = append(initial, Row{Head: k})
		}
		live := pair{newTreeOf(len(initial), func(i int) Row { return initial[i] }), initial}
		var copies []pair
		for range rapid.IntRange(1, 20).Draw(r, "rounds") {
			from, n := rapid.IntRange(0, 2000).Draw(r, "from"), rapid.IntRange(1, 400).Draw(r, "n")
			step := rapid.SampledFrom([]int{1, -1, 7, 0}).Draw(r, "step")
			remove := rapid.Bool().Draw(r, "remove")
			for range n {
				from = (from + step + 2001) % 2001
				if step == 0 {
					from = (from*1103 + 12345) % 2001
				}
				k := fmt.Sprintf("C%04d", from)
				i, there := find(live.model, k)
				if remove {
					was, found := live.tree.Delete(Row{Head: k})
					if found != there || found && was != live.model[i] {
						r.Fatalf("deleting %s: %v, %v; want %v", k, was, found, there)
					}
					if there {
						live.model = slices.Delete(live.model, i, i+1)
					}
					continue
				}
				row := Row{Head: k, Entity: &Entity{}}
				was, replaced := live.tree.Set(row)
				if replaced != there || there && was != live.model[i] {
					r.Fatalf("setting %s: %v, %v; want %v", k, was, replaced, there)
				}
				if there {
					live.model[i] = row
				} else {
					live.model = slices.Insert(live.model, i, row)
				}
			}
			same(live)
			for _, k := range []string{"", key.Draw(r, "at"), "D"} {
				i, there := find(live.model, k)
				if got := live.tree.Rank(Row{Head: k}); got != i {
					r.Fatalf("rank of %q is %d; want %d", k, got, i)
				}
				if got, ok := live.tree.Get(Row{Head: k}); ok != there || ok && got != live.model[i] {
					r.Fatalf("%q is %v, %v; want %v", k, got, ok, there)
				}
				var down []Row
				w := Walk{tree: live.tree}
				for w.SeekDown(k); w.ok; w.Down() {
					row, _ := w.Row()
					down = append(down, row)
				}
				if slices.Reverse(down); !slices.Equal(down, live.model[:i]) {
					r.Fatalf("down from %q: %v; want %v", k, down, live.model[:i])
				}
			}
			if rapid.IntRange(0, 3).Draw(r, "copy") == 0 {
				copies = append(copies, pair{live.tree.Copy(), slices.Clone(live.model)})
			}
			if len(copies) > 0 && rapid.Bool().Draw(r, "swap") {
				i := rapid.IntRange(0, len(copies)-1).Draw(r, "with")
				live, copies[i] = copies[i], live
			}
		}
		for _, c := range copies {
			same(c)
		}
	})
}

// TestTreeIsFull: leaves have little room that isn't used, in whatever order
// rows come.
func TestTreeIsFull(t *testing.T) {
	const n = 20_000
	for name, key := range map[string]func(i int) int{
		"ascending":          func(i int) int { return i },
		"descending":         func(i int) int { return n - i },
		"ascending in 100":   func(i int) int { return i%100*n + i },
		"scattered":          func(i int) int { return i * 7919 % n },
		"scattered in pairs": func(i int) int { return i/2*7919%n*2 + i%2 },
	} {
		tree := newTree()
		for i := range n {
			tree.Set(Row{Head: fmt.Sprintf("%09d", key(i))})
		}
		room := tree.check(t)
		if tree.Len() != n || room > n*10/8 {
			t.Errorf("%s: %d rows, with room for %d", name, tree.Len(), room)
		}
		t.Logf("%s: room for %d", name, room)
	}
}
