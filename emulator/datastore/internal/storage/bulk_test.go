package storage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"pgregory.net/rapid"
)

// TestSorter sorts texts with long beginnings in common, some of which come several
// times, and more of them than are compared with each other.
func TestSorter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"", "a", "aaaaaaa", "somethinglong", "b", "\xff"})
		texts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return piece.Draw(t, "1") + piece.Draw(t, "2") + piece.Draw(t, "3") + piece.Draw(t, "4") + "\x00\x00"
		}), rapid.SampledFrom([]int{0, sortFew + 1, 2*sortFew + 1}).Draw(t, "least"), 4*sortFew).Draw(t, "texts")
		many := rapid.IntRange(0, 4).Draw(t, "many") == 0 // more than one goroutine sorts
		for n := len(texts); many && n > 2*sortFew && len(texts) < 3*sortApart; {
			for i := range n {
				texts = append(texts, fmt.Sprintf("%s%d\x00\x00", strings.TrimSuffix(texts[i], "\x00\x00"), len(texts)/n%8))
			}
		}
		items := make([]item, len(texts))
		for i := range items {
			items[i].of = uint32(i)
		}
		order := func(a, b item) int { return strings.Compare(texts[a.of], texts[b.of]) }
		want := slices.Clone(items)
		slices.SortStableFunc(want, order)
		same := map[string]int{} // texts that come several times
		for text, n := range count(texts) {
			if n > 1 {
				same[text] = n
			}
		}
		var mu sync.Mutex
		tied := map[string]int{}
		s := sorter{text: func(x item) string { return texts[x.of] }, ties: func(items []item) {
			mu.Lock()
			defer mu.Unlock()
			tied[texts[items[0].of]] += len(items)
			if slices.ContainsFunc(items, func(x item) bool { return order(x, items[0]) != 0 }) || len(items) < 2 {
				t.Errorf("ties of %d texts, not all the same", len(items))
			}
		}}
		if got := s.sorted(items); got != (len(same) == 0 && slices.IsSortedFunc(items, order)) {
			t.Fatalf("sorted: %v", got)
		}
		s.sort(items, 0)
		for i := range items {
			if items[i].of != want[i].of {
				t.Fatalf("%d is %q (%d); want %q (%d)", i, texts[items[i].of], items[i].of, texts[want[i].of], want[i].of)
			}
		}
		if !maps.Equal(tied, same) {
			t.Fatalf("ties %v; want %v", tied, same)
		}
	})
}

func count(texts []string) map[string]int {
	n := map[string]int{}
	for _, text := range texts {
		n[text]++
	}
	return n
}

// TestCompareRows: rows compare as the strings that they stand for, wherever a
// head ends.
func TestCompareRows(t *testing.T) {
	of := func(name string) *Entity {
		e, err := NewEntity(&pb.Entity{Key: &pb.Key{Path: []*pb.Key_PathElement{{Kind: "K", IdType: &pb.Key_PathElement_Name{Name: name}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	entities := []*Entity{nil, of("a"), of("b"), of("K")}
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.Custom(func(t *rapid.T) Row {
			r := Row{Head: rapid.StringMatching("[CPK][Kab\x00]{0,4}").Draw(t, "head"), Entity: rapid.SampledFrom(entities).Draw(t, "entity")}
			if rapid.Bool().Draw(t, "whole") {
				r = Row{Head: r.Key()}
			}
			return r
		})
		a, b := row.Draw(t, "a"), row.Draw(t, "b")
		if got, want := a.compare(b), strings.Compare(a.Key(), b.Key()); got != want {
			t.Fatalf("%q compared with %q is %d; want %d", a.Key(), b.Key(), got, want)
		}
		if n := rapid.IntRange(0, len(a.Head)).Draw(t, "n"); a.Suffix(n) != a.Key()[n:] {
			t.Fatalf("%q from %d on is %q", a.Key(), n, a.Suffix(n))
		}
	})
}
