package generate

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
)

// Subject is what scripts of one sort are about.
type subject struct {
	name   string
	weight int
	write  func(*generator)
}

func subjects() []subject {
	return []subject{
		{"queries", 36, (*generator).queries},
		{"writes", 18, (*generator).writes},
		{"aggregations", 10, (*generator).aggregations},
		{"gql", 12, (*generator).gqlQueries},
		{"transactions", 8, (*generator).transactions},
		{"metadata", 4, (*generator).metadata},
		{"vectors", 3, (*generator).vectors},
		{"malformed", 6, (*generator).malformed},
		{"ids", 3, (*generator).ids},
		{"interleaved", 10, (*generator).interleaved},
		{"batches", 1, (*generator).batches},
	}
}

// Subjects names the sorts of scripts.
func Subjects() []string {
	var names []string
	for _, s := range subjects() {
		names = append(names, s.name)
	}
	return names
}

// Scripts are a seed's, one after the other, until they have count steps. only is
// as for Script.
func Scripts(seed uint64, count int, only ...string) iter.Seq[script.Script] {
	return func(yield func(script.Script) bool) {
		for n, steps := 0, 0; steps < count; n++ {
			s := Script(seed, n, only...)
			if len(s.Steps) == 0 || !yield(s) {
				return
			}
			steps += len(s.Steps)
		}
	}
}

// Script makes the n-th script of a seed. only, when it isn't empty, names the
// sorts of scripts to choose from.
func Script(seed uint64, n int, only ...string) script.Script {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(n)))}
	var from []subject
	total := 0
	for _, s := range subjects() {
		if len(only) == 0 || slices.Contains(only, s.name) {
			from = append(from, s)
			total += s.weight
		}
	}
	if total == 0 {
		return g.s
	}
	at := g.IntN(total)
	for _, s := range from {
		if at -= s.weight; at < 0 {
			g.world()
			s.write(g)
			g.s.Origin = fmt.Sprintf("seed %d, script %d: %s", seed, n, s.name)
			break
		}
	}
	return g.s
}

// generator writes one script.
type generator struct {
	*rand.Rand
	s    script.Script
	last int // ID of the last step

	// The world of this script.
	namespace                   string
	arrays                      bool // multi-valued properties
	empty                       bool // empty arrays
	embedded                    bool // entity values
	unindexed                   bool
	classic                     bool // queries that the older emulator understands
	masks, transforms, versions bool // what mutations come with
	kinds                       []string
	names                       []string // of properties

	rows []int // steps that were queries, for cursors
}

func (g *generator) world() {
	g.namespace = pick(g, "", "", "n1", "n-2.b")
	g.arrays = g.one(3)
	g.empty = g.arrays && g.one(4)
	g.embedded = g.one(3)
	g.unindexed = g.one(3)
	g.classic = g.one(2)
	g.masks, g.transforms, g.versions = g.one(8), g.one(8), g.one(8)
	g.kinds = []string{"A", "A", "A", "B"}
	g.names = []string{"p", "q", "r"}
}

// one is true once in n times.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

// between draws a number from lo to hi, both included.
func (g *generator) between(lo, hi int) int { return lo + g.IntN(hi-lo+1) }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// add appends a step and returns its ID.
func (g *generator) add(request proto.Message) int {
	g.last++
	g.s.Steps = append(g.s.Steps, script.Step{ID: g.last, Request: request})
	return g.last
}
