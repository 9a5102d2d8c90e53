package storage

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// load puts entities, all different and in the order of their paths, into tables
// that are empty: it sorts their rows and appends them, which is many times
// faster than finding the place of each. Rows of the same head are in the order
// of their entities. Composite indexes get theirs from SetIndexes.
func (t *tables) load(entities []*Entity) {
	parts := make([]gathered, (len(entities)+gatherSize-1)/gatherSize)
	inParts(len(entities), gatherSize, func(part, from, to int) {
		parts[part].gather(entities, from, to)
	})
	bunches := map[string]*bunch{}
	repeats := map[string]int{}
	n := 0
	for i := range parts {
		for prefix, b := range parts[i].bunches {
			all := bunches[prefix]
			if all == nil {
				all = &bunch{prefix: prefix, property: b.property}
				bunches[prefix] = all
			}
			all.blocks = append(all.blocks, b.blocks...)
			all.n, all.longest = all.n+b.n, max(all.longest, b.longest)
			n += b.n
		}
		for prefix, n := range parts[i].repeats {
			repeats[prefix] += n
		}
	}
	for prefix, n := range repeats {
		t.repeats.count(prefix, n)
	}

	items := make([]item, 0, n)
	order := slices.SortedFunc(maps.Values(bunches), func(a, b *bunch) int { return strings.Compare(a.prefix, b.prefix) })
	for _, b := range order {
		for _, block := range b.blocks {
			items = append(items, block...)
		}
		b.items, b.blocks = items[len(items)-b.n:], nil
	}
	sorters := sync.Pool{New: func() any {
		return &sorter{text: func(x item) string { return entities[x.of].rows.Head(int(x.row)) }}
	}}
	inParts(len(order), 1, func(i, _, _ int) {
		if b := order[i]; b.property {
			s := sorters.Get().(*sorter)
			s.filled(b.items, len(b.prefix), b.longest)
			sorters.Put(s)
		}
	})
	t.tree = newTreeOf(len(items), func(i int) Row { return entities[items[i].of].row(int(items[i].row)) })
}

// bunch is the rows whose heads begin alike: all entity rows of a namespace, all
// kind rows of a kind, or the rows of one property's values of one type. Nearly
// all of sorting is done by that.
type bunch struct {
	prefix   string
	property bool
	n        int
	longest  int      // of the heads
	blocks   [][]item // in the order of their entities
	items    []item
}

const (
	gatherSize = 1 << 11 // entities
	blockMin   = 1 << 4  // items
	blockMax   = 1 << 11
)

func (b *bunch) add(x item, head string) {
	last := len(b.blocks) - 1
	if last < 0 || len(b.blocks[last]) == cap(b.blocks[last]) {
		size := blockMin
		if last >= 0 {
			size = min(4*cap(b.blocks[last]), blockMax)
		}
		b.blocks = append(b.blocks, make([]item, 0, size))
		last++
	}
	b.n++
	b.longest = max(b.longest, len(head))
	b.blocks[last] = append(b.blocks[last], x)
}

// gathered is the rows of some entities.
type gathered struct {
	bunches map[string]*bunch
	repeats map[string]int // how many entities have several rows of a property
}

func (g *gathered) gather(entities []*Entity, from, to int) {
	g.bunches, g.repeats = map[string]*bunch{}, map[string]int{}
	var before []*bunch // of the rows of the entity before, which is likely to be of the same kind
	for of := from; of < to; of++ {
		rows := entities[of].rows
		for i := range rows.Len() {
			head := rows.Head(i)
			if i == len(before) {
				before = append(before, nil)
			}
			b := before[i]
			if b == nil || !strings.HasPrefix(head, b.prefix) {
				b = g.bunch(head, i)
				before[i] = b
			}
			b.add(item{eight: eight(head, len(b.prefix)), of: uint32(of), row: uint32(i)}, head)
		}
		if rows.Repeats() {
			for prefix := range rows.Repeated() {
				g.repeats[prefix]++
			}
		}
	}
}

// bunch is where an entity's i-th row belongs.
func (g *gathered) bunch(head string, i int) *bunch {
	prefix := head
	if i >= encoding.FirstProperty {
		prefix = head[:encoding.TypedLen(head)]
	}
	b := g.bunches[prefix]
	if b == nil {
		b = &bunch{prefix: prefix, property: i >= encoding.FirstProperty}
		g.bunches[prefix] = b
	}
	return b
}
