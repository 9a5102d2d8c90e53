package storage

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// load puts the entities, all different, into tables that are empty: it sorts
// their rows and appends them, which is several times faster than finding the
// place of each. It is enough to sort by paths once: rows of the same head are
// in the order of their entities then.
func (t *tables) load(entities []*Entity) {
	n := 0
	paths := make([]sortRow, len(entities))
	for i, e := range entities {
		n += e.rows.Len()
		paths[i] = sortRow{text: e.Path(), entity: e, rank: i}
	}
	sortRows(paths)
	rows := make([]sortRow, 0, n)
	add := func(from, to int) {
		start := len(rows)
		for rank, p := range paths {
			for i := from; i < min(to, p.entity.rows.Len()); i++ {
				rows = append(rows, sortRow{text: p.entity.rows.Head(i), entity: p.entity, rank: rank})
			}
		}
		sortRows(rows[start:])
	}
	// Entity rows and kind rows have few different heads: they are almost sorted.
	add(0, 1)
	add(1, encoding.FirstProperty)
	add(encoding.FirstProperty, encoding.MaxIndexEntries+encoding.FirstProperty)
	for _, e := range entities {
		t.repeats.add(e, 1)
		for _, c := range t.composites.of(e.rows) {
			c.put(nil, e)
		}
	}
	t.tree = newTreeOf(len(rows), func(i int) Row { return Row{Head: rows[i].text, Entity: rows[i].entity} })
}

// sortRow is the head of a row, or a path, and eight bytes of it, which are
// compared first. What is the same is put in the order of ranks.
type sortRow struct {
	eight  uint64
	text   string
	entity *Entity
	rank   int
}

// sortRows sorts by eight bytes of the texts at a time: they have long beginnings
// in common, which it doesn't look at again for every comparison.
func sortRows(rows []sortRow) {
	var wg sync.WaitGroup
	sortFrom(rows, 0, &wg)
	wg.Wait()
}

// sortApart is how many rows are worth a goroutine.
const sortApart = 1 << 14

const sortWidth = 8

// sortFrom sorts rows whose texts are the same before the byte at.
func sortFrom(rows []sortRow, at int, wg *sync.WaitGroup) {
	if len(rows) < 2 {
		return
	}
	for same := true; same; at += sortWidth {
		ends, length := false, len(rows[0].text)
		for i := range rows {
			text := rows[i].text
			rows[i].eight = eight(text, at)
			same = same && rows[i].eight == rows[0].eight
			ends = ends || len(text) < at+sortWidth
			if len(text) != length {
				length = -1
			}
		}
		if same && ends {
			order := func(a, b sortRow) int { return cmp.Compare(a.rank, b.rank) }
			if length < 0 {
				order = func(a, b sortRow) int {
					return cmp.Or(strings.Compare(a.text, b.text), cmp.Compare(a.rank, b.rank))
				}
			}
			slices.SortFunc(rows, order)
			return
		}
	}
	slices.SortFunc(rows, func(a, b sortRow) int { return cmp.Compare(a.eight, b.eight) })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].eight == rows[0].eight {
			n++
		}
		run := rows[:n]
		rows = rows[n:]
		switch {
		case n >= sortApart:
			wg.Go(func() { sortFrom(run, at, wg) })
		default:
			sortFrom(run, at, wg)
		}
	}
}

// eight is eight bytes of a text, zeros beyond its end.
func eight(text string, at int) uint64 {
	var b [sortWidth]byte
	copy(b[:], text[min(at, len(text)):])
	return binary.BigEndian.Uint64(b[:])
}
