package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// Counts is the summary of a run. Its methods may be called concurrently.
type Counts struct {
	mu            sync.Mutex
	steps         map[string]int // by method
	equal         map[string]int // comparisons by server
	different     map[string]int
	justifiedBy   map[string]int // by entry
	notThere      map[string]int // by message
	featureCounts map[string]int
	interleaved   map[string]int
	hung          map[string]int // by server
}

// NewCounts returns empty counts.
func NewCounts() *Counts {
	return &Counts{steps: map[string]int{}, equal: map[string]int{}, different: map[string]int{}, justifiedBy: map[string]int{},
		notThere: map[string]int{}, featureCounts: map[string]int{}, interleaved: map[string]int{}, hung: map[string]int{}}
}

func (c *Counts) add(m map[string]int, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m[key]++
}

func (c *Counts) step(s script.Step) {
	c.add(c.steps, s.Method())
	for _, f := range Features(s.Request) {
		c.add(c.featureCounts, f)
	}
}

func (c *Counts) compared(server string, equal bool) {
	if equal {
		c.add(c.equal, server)
	} else {
		c.add(c.different, server)
	}
}

func (c *Counts) justified(id string)         { c.add(c.justifiedBy, id) }
func (c *Counts) unimplemented(text string)   { c.add(c.notThere, text) }
func (c *Counts) unanswered(server string)    { c.add(c.hung, server) }
func (c *Counts) interleaving(outcome string) { c.add(c.interleaved, outcome) }

// Operations is how many steps were run.
func (c *Counts) Operations() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.steps {
		n += k
	}
	return n
}

// Summary renders the counts. Entries of the table that never matched are
// named.
func (c *Counts) Summary(table []Entry) string {
	n := c.Operations()
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d operations\n", n)
	list := func(title string, m map[string]int) {
		if len(m) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s:\n", title)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "  %7d %s\n", m[k], k)
		}
	}
	list("operations", c.steps)
	list("answers that were equal", c.equal)
	list("answers that differed", c.different)
	list("differences justified by", c.justifiedBy)
	list("interleaved transactions", c.interleaved)
	list("not answered within a minute", c.hung)
	list("not there yet", c.notThere)
	list("features", c.featureCounts)
	var never []string
	for _, e := range table {
		if c.justifiedBy[e.ID] == 0 {
			never = append(never, e.ID)
		}
	}
	if len(never) > 0 {
		fmt.Fprintf(&b, "entries of the table that never matched: %s\n", strings.Join(never, ", "))
	}
	return b.String()
}
