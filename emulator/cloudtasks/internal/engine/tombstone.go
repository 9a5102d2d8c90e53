package engine

import (
	"crypto/sha256"
	"iter"
	"time"
)

// A mark stands for the id of a task that ended: half of its SHA-256, so that a
// tombstone costs the same few bytes whatever the id's length.
type mark [16]byte

func markOf(id string) mark {
	sum := sha256.Sum256([]byte(id))
	return mark(sum[:len(mark{})])
}

// A tombstone is a mark with the time of its burial.
type tombstone struct {
	mark   mark
	buried Micros
}

// A graveyard is a set of marks in the order of their burial. They leave it
// when they are older than the time to live or, with a limit, when more than
// that many came after them.
type graveyard struct {
	ttl   time.Duration
	limit int // 0 is none
	since map[mark]Micros
	line  []tombstone // by time; those before head have left
	head  int
}

// bury adds m, or renews it.
func (g *graveyard) bury(m mark, now Micros) {
	if g.ttl <= 0 {
		return
	}
	g.prune(now)
	if buried, known := g.since[m]; known && buried >= now {
		return
	}
	if g.since == nil {
		g.since = make(map[mark]Micros)
	}
	g.since[m] = now
	g.line = append(g.line, tombstone{m, now})
	if g.limit > 0 && len(g.line)-g.head > g.limit {
		g.pop()
	}
}

// holds reports whether m has a tombstone at the time now.
func (g *graveyard) holds(m mark, now Micros) bool {
	g.prune(now)
	buried, known := g.since[m]
	return known && now.Sub(buried) < g.ttl
}

// pruneAtOnce bounds the tombstones that are dropped under one lock.
const pruneAtOnce = 1024

// prune drops what has expired, but not too much of it: the rest is for the next
// time.
func (g *graveyard) prune(now Micros) {
	for range pruneAtOnce {
		if g.next() > now {
			return
		}
		g.pop()
	}
}

// next is the time at which a tombstone expires, or never.
func (g *graveyard) next() Micros {
	if g.head == len(g.line) {
		return never
	}
	return g.line[g.head].buried.Add(g.ttl)
}

func (g *graveyard) pop() {
	first := g.line[g.head]
	g.head++
	if g.since[first.mark] == first.buried { // not renewed since
		delete(g.since, first.mark)
	}
	if g.head == len(g.line) {
		g.since, g.line, g.head = nil, nil, 0 // maps don't shrink
		return
	}
	if g.head > 1024 && g.head > len(g.line)/2 {
		g.line = append([]tombstone(nil), g.line[g.head:]...)
		g.head = 0
	}
}

// forget removes m, whose place in line stays until it is reached.
func (g *graveyard) forget(m mark) { delete(g.since, m) }

// all yields the tombstones in the order of burial.
func (g *graveyard) all() iter.Seq[tombstone] {
	return func(yield func(tombstone) bool) {
		for _, t := range g.line[g.head:] {
			if g.since[t.mark] == t.buried && !yield(t) {
				return
			}
		}
	}
}

// prunePause is how long expired tombstones may wait for others to be dropped
// with.
const prunePause = time.Minute

// nextPrune is the time at which q has tombstones to drop, or never.
func (q *queue) nextPrune() Micros {
	next := min(q.named.next(), q.anonymous.next())
	if next == never {
		return never
	}
	return max(next.Add(prunePause), q.pruned.Add(time.Second)) // many are dropped in parts
}

// prune drops tombstones whose time has come.
func (q *queue) prune(now Micros) {
	if q.nextPrune() <= now {
		q.named.prune(now)
		q.anonymous.prune(now)
		q.pruned = now
	}
}
