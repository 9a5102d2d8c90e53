package storage

import (
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"pgregory.net/rapid"
)

// TestSortRows sorts texts with long beginnings in common, some of which end in
// the middle of what is compared at once, and some of which come several times.
func TestSortRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"", "\x00", "a", "\x00\x00\x00\x00", "somethinglong", "b"})
		texts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return piece.Draw(t, "1") + piece.Draw(t, "2") + piece.Draw(t, "3") + piece.Draw(t, "4")
		}), 0, 50).Draw(t, "texts")
		rows := make([]sortRow, len(texts))
		for i, text := range texts {
			rows[i] = sortRow{text: text, rank: i}
		}
		want := slices.Clone(rows)
		slices.SortStableFunc(want, func(a, b sortRow) int { return strings.Compare(a.text, b.text) })
		sortRows(rows)
		for i := range rows {
			if rows[i].rank != want[i].rank {
				t.Fatalf("%d is %q of rank %d; want %q of rank %d", i, rows[i].text, rows[i].rank, want[i].text, want[i].rank)
			}
		}
	})
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
