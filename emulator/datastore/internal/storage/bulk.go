package storage

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

// load puts the entities, all different, into tables that are empty: it sorts
// their rows and appends them, which is several times faster than finding the
// place of each.
func (t *tables) load(entities []*Entity) {
	n := 0
	for _, e := range entities {
		n += len(e.rows)
	}
	rows := make([]sortRow, 0, n)
	for _, e := range entities {
		for _, row := range e.rows {
			rows = append(rows, sortRow{Row: Row{Key: row, Entity: e}})
		}
		t.repeats.add(e, 1)
		for _, c := range t.composites.of(e.rows) {
			c.put(nil, e)
		}
	}
	sortRows(rows)
	for i := range rows {
		t.tree.Load(rows[i].Row)
	}
}

// sortRow is a row and eight bytes of its key, which are compared first.
type sortRow struct {
	head uint64
	Row
}

// sortRows sorts by eight bytes of the keys at a time: rows have long beginnings
// in common, which it doesn't look at again for every comparison.
func sortRows(rows []sortRow) {
	var wg sync.WaitGroup
	sortFrom(rows, 0, &wg)
	wg.Wait()
}

// sortApart is how many rows are worth a goroutine.
const sortApart = 1 << 14

const sortWidth = 8

// sortFrom sorts rows whose keys are the same before the byte at.
func sortFrom(rows []sortRow, at int, wg *sync.WaitGroup) {
	if len(rows) < 2 {
		return
	}
	for same := true; same; at += sortWidth {
		for i := range rows {
			rows[i].head = head(rows[i].Key, at)
			same = same && rows[i].head == rows[0].head
		}
		if same && slices.ContainsFunc(rows, func(r sortRow) bool { return len(r.Key) < at+sortWidth }) {
			slices.SortFunc(rows, func(a, b sortRow) int { return strings.Compare(a.Key, b.Key) })
			return
		}
	}
	slices.SortFunc(rows, func(a, b sortRow) int { return cmp.Compare(a.head, b.head) })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].head == rows[0].head {
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

// head is eight bytes of a key, zeros beyond its end.
func head(key string, at int) uint64 {
	var b [sortWidth]byte
	copy(b[:], key[min(at, len(key)):])
	return binary.BigEndian.Uint64(b[:])
}
