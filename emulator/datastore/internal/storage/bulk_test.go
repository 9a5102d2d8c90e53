package storage

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSortRows sorts keys with long beginnings in common, some of which end in
// the middle of what is compared at once.
func TestSortRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"", "\x00", "a", "\x00\x00\x00\x00", "somethinglong", "b"})
		keys := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			return piece.Draw(t, "1") + piece.Draw(t, "2") + piece.Draw(t, "3") + piece.Draw(t, "4")
		}), 0, 50, func(s string) string { return s }).Draw(t, "keys")
		rows := make([]sortRow, len(keys))
		for i, k := range keys {
			rows[i].Key = k
		}
		sortRows(rows)
		slices.Sort(keys)
		for i, k := range keys {
			if rows[i].Key != k {
				t.Fatalf("row %d is %q; want %q", i, rows[i].Key, k)
			}
		}
	})
}
