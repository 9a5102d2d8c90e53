package storage

import (
	"runtime"
	"strings"
	"sync"
)

// item stands for a text that is to be sorted: a path, or the head of a row. It
// holds no pointer, so moving millions of items costs the garbage collector nothing.
type item struct {
	eight uint64 // bytes of the text, in its order
	of    uint32 // whose text it is: the number of a step, an entity or a row
	row   uint32 // which row of the entity
}

// sorter sorts items by texts none of which begins another one, and leaves the same
// texts in their order. It looks at eight bytes of all texts at a time, and sorts
// by those of them that differ, digit by digit: texts have long beginnings in
// common, and comparing two of them means two visits to distant memory.
type sorter struct {
	text func(item) string // asked by several goroutines
	ties func([]item)      // is told of items that have the same text, by several goroutines; nil if nobody cares

	spare []item
}

const (
	sortWidth = 8       // bytes at a time
	sortFew   = 24      // items that are compared with each other
	sortApart = 1 << 12 // items that are worth a goroutine
)

// sort sorts items whose texts are the same before the byte at.
func (s *sorter) sort(items []item, at int) {
	longest := s.fill(items, at)
	s.filled(items, at, longest)
}

// fill notes the eight bytes of the texts, and returns the greatest length.
func (s *sorter) fill(items []item, at int) (longest int) {
	if len(items) <= sortApart {
		for i := range items {
			text := s.text(items[i])
			items[i].eight = eight(text, at)
			longest = max(longest, len(text))
		}
		return longest
	}
	var mu sync.Mutex
	inParts(len(items), sortApart, func(_, from, to int) {
		most := s.fill(items[from:to], at)
		mu.Lock()
		defer mu.Unlock()
		longest = max(longest, most)
	})
	return longest
}

// filled is sort for items that have their eight bytes.
func (s *sorter) filled(items []item, at, longest int) {
	if len(items) <= sortFew {
		s.insert(items, at+sortWidth)
		return
	}
	differ := uint64(0)
	for _, x := range items {
		differ |= x.eight ^ items[0].eight
	}
	s.digits(items, differ)
	if differ == 0 || len(items) <= sortApart {
		s.runs(items, at, longest)
		return
	}
	var parts []int // where each of them ends, which is where a run does
	for end := 0; end < len(items); {
		end = runEnd(items, min(end+sortApart, len(items)))
		parts = append(parts, end)
	}
	inParts(len(parts), 1, func(i, _, _ int) {
		begin := 0
		if i > 0 {
			begin = parts[i-1]
		}
		part := sorter{text: s.text, ties: s.ties}
		part.runs(items[begin:parts[i]], at, longest)
	})
}

// runEnd is the first place, from i > 0 on, at which the eight bytes are others than before it.
func runEnd(items []item, i int) int {
	for i < len(items) && items[i].eight == items[i-1].eight {
		i++
	}
	return i
}

// runs sorts each of the runs of the same eight bytes.
func (s *sorter) runs(items []item, at, longest int) {
	for len(items) > 0 {
		n := runEnd(items, 1)
		same := items[:n]
		items = items[n:]
		switch {
		case n == 1:
		case at+sortWidth < longest:
			s.sort(same, at+sortWidth)
		case s.ties != nil:
			s.ties(same)
		}
	}
}

// digits sorts by those of the eight bytes in which items differ, the last first.
func (s *sorter) digits(items []item, differ uint64) {
	if len(s.spare) < len(items) {
		s.spare = make([]item, len(items))
	}
	from, to := items, s.spare[:len(items)]
	for shift := 0; shift < 8*sortWidth; shift += 8 {
		if byte(differ>>shift) == 0 {
			continue
		}
		var places [256]int
		for i := range from {
			places[byte(from[i].eight>>shift)]++
		}
		next := 0
		for digit, n := range places {
			places[digit] = next
			next += n
		}
		for i := range from {
			place := &places[byte(from[i].eight>>shift)]
			to[*place] = from[i]
			*place++
		}
		from, to = to, from
	}
	if &from[0] != &items[0] {
		copy(items, from)
	}
}

// insert sorts few items, whose texts from the byte rest on go on after the eight.
func (s *sorter) insert(items []item, rest int) {
	order := func(a, b item) int {
		switch {
		case a.eight < b.eight:
			return -1
		case a.eight > b.eight:
			return 1
		}
		x, y := s.text(a), s.text(b)
		return strings.Compare(x[min(rest, len(x)):], y[min(rest, len(y)):])
	}
	for i := 1; i < len(items); i++ {
		x, j := items[i], i
		for ; j > 0 && order(items[j-1], x) > 0; j-- {
			items[j] = items[j-1]
		}
		items[j] = x
	}
	if s.ties == nil {
		return
	}
	for len(items) > 1 {
		n := 1
		for n < len(items) && order(items[0], items[n]) == 0 {
			n++
		}
		if n > 1 {
			s.ties(items[:n])
		}
		items = items[n:]
	}
}

// sorted reports whether the items are in order, all of them different.
func (s *sorter) sorted(items []item) bool {
	for i := 1; i < len(items); i++ {
		if s.text(items[i-1]) >= s.text(items[i]) {
			return false
		}
	}
	return true
}

// eight is eight bytes of a text as a number, with zeros beyond its end.
func eight(text string, at int) (n uint64) {
	if at+sortWidth <= len(text) {
		b := text[at : at+sortWidth]
		return uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32 |
			uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
	}
	for i := range sortWidth {
		n <<= 8
		if at+i < len(text) {
			n |= uint64(text[at+i])
		}
	}
	return n
}

// inParts calls f for n things in parts of a size, on all processors.
func inParts(n, size int, f func(part, from, to int)) {
	parts := make(chan int, (n+size-1)/size)
	for part := range cap(parts) {
		parts <- part
	}
	close(parts)
	work := func() {
		for part := range parts {
			f(part, part*size, min(n, (part+1)*size))
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), cap(parts)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// sortRows sorts rows by their heads, which are all different.
func sortRows(rows []Row) []item {
	items := make([]item, len(rows))
	for i := range items {
		items[i].of = uint32(i)
	}
	s := sorter{text: func(x item) string { return rows[x.of].Head }}
	s.sort(items, 0)
	return items
}
