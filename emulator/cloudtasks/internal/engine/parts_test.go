package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A bucket is asked as the dispatcher does: whenever it says that it is ready.
func TestBucketKeepsItsRate(t *testing.T) {
	const second = int64(time.Second)
	for _, tt := range []struct {
		rate   float64
		burst  int
		within time.Duration
		want   int
	}{
		{500, 100, 10 * time.Second, 100 + 5000},
		{1, 1, 10 * time.Second, 1 + 10},
		{0.1, 1, time.Minute, 1 + 6},
		{0.001, 1, time.Hour, 1 + 3},
		{1e-300, 1, 24 * time.Hour, 1},
		{3, 3, 10 * time.Second, 3 + 29}, // a third of a second is rounded up
	} {
		t.Run(fmt.Sprint(tt.rate), func(t *testing.T) {
			var b bucket
			b.limit(tt.rate, tt.burst)
			start := 1_000_000 * second
			got := 0
			for now := start; ; got++ {
				now = max(now, b.ready(now))
				if now > start+int64(tt.within) {
					break
				}
				b.take(now)
			}
			if got != tt.want {
				t.Errorf("%d tokens in %v, want %d", got, tt.within, tt.want)
			}
		})
	}
}

func TestBucketWithoutLimit(t *testing.T) {
	var b bucket
	for range 1000 {
		if b.ready(1) > 1 {
			t.Fatal("an unlimited bucket makes wait")
		}
		b.take(1)
	}
}

type number struct {
	value int
	index int32
}

func (n *number) before(m *number) bool { return n.value < m.value }
func (n *number) place() *int32         { return &n.index }

func TestHeapAgainstSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h heap[*number]
		var all []*number
		value := rapid.IntRange(0, 20)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				n := &number{value: value.Draw(t, "value")}
				all = append(all, n)
				h.push(n)
			},
			"remove": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "index")
				if got := h.remove(int(all[i].index)); got != all[i] || got.index != nowhere {
					t.Fatalf("removed %+v, want %+v", got, all[i])
				}
				all = slices.Delete(all, i, i+1)
			},
			"change": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				n := all[rapid.IntRange(0, len(all)-1).Draw(t, "index")]
				n.value = value.Draw(t, "value")
				h.fix(int(n.index))
			},
			"": func(t *rapid.T) {
				for i, n := range h {
					if int(n.index) != i {
						t.Fatalf("item %d thinks it is at %d", i, n.index)
					}
				}
				if len(all) == 0 {
					return
				}
				first := slices.MinFunc(all, func(a, b *number) int { return a.value - b.value })
				if h[0].value != first.value {
					t.Fatalf("first is %d, want %d", h[0].value, first.value)
				}
			},
		})
	})
}

func TestGraveyardAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ttl = 10 * time.Second
		g := graveyard{ttl: ttl}
		now, model := Micros(1), map[string]Micros{}
		id := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		t.Repeat(map[string]func(*rapid.T){
			"bury": func(t *rapid.T) {
				name := id.Draw(t, "id")
				g.bury(markOf(name), now)
				model[name] = now
			},
			"forget": func(t *rapid.T) {
				name := id.Draw(t, "id")
				g.forget(markOf(name))
				delete(model, name)
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 6).Draw(t, "seconds")) * time.Second)
			},
			"": func(t *rapid.T) {
				for _, name := range []string{"a", "b", "c", "d"} {
					buried, ok := model[name]
					want := ok && now.Sub(buried) < ttl
					if got := g.holds(markOf(name), now); got != want {
						t.Fatalf("at %d holds %q: %v, want %v", now, name, got, want)
					}
				}
				if len(g.since) > len(g.line)-g.head {
					t.Fatal("a mark without its place in line would stay forever")
				}
			},
		})
	})
}

func TestGraveyardForgetsTheOldestOverItsLimit(t *testing.T) {
	g := graveyard{ttl: time.Hour, limit: 1000}
	for i := range 5000 {
		g.bury(markOf(fmt.Sprint(i)), Micros(i))
	}
	if g.holds(markOf("3999"), 5000) || !g.holds(markOf("4000"), 5000) {
		t.Error("not exactly the last 1000 are kept")
	}
	if len(g.since) != 1000 || len(g.line) > 3000 {
		t.Errorf("%d marks in a line of %d", len(g.since), len(g.line))
	}
}

func TestMinute(t *testing.T) {
	const second = Micros(time.Second / time.Microsecond)
	var m minute
	now := 1000 * second
	m.add(now, 2)
	m.add(now+30*second, 3)
	for _, tt := range []struct {
		after Micros
		want  uint64
	}{{30, 5}, {59, 5}, {60, 3}, {89, 3}, {90, 0}, {100_000, 0}} {
		if got := m.sum(now + tt.after*second); got != tt.want {
			t.Errorf("after %d s: %d, want %d", tt.after, got, tt.want)
		}
	}
}
