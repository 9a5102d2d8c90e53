package transactions

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// TestWaitingScansAreNotRepeated: of many transactions that scan the same, each
// looks again when it is its turn, not whenever another one has had its own.
func TestWaitingScansAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := storage.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		m := New(store.DB(storage.ID{Project: "p"}), nil)
		defer m.Close()
		const others = 100
		scans := 0 // they run one at a time
		scan := func(tx *Tx) error {
			return m.Read(t.Context(), tx, func(storage.View) Footprint {
				scans++
				return Footprint{Ranges: []Range{{Lo: "K1", Hi: "K2"}}}
			})
		}
		first, err := m.Begin(nil)
		if err != nil || scan(first) != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range others {
			all.Go(func() {
				tx, err := m.Begin(nil)
				if err == nil {
					err = scan(tx)
				}
				if err == nil {
					_, err = m.Commit(t.Context(), tx, nil)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := m.Commit(t.Context(), first, nil); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if limit := 1 + 2*others; scans > limit {
			t.Errorf("%d scans; want at most %d", scans, limit)
		}
	})
}
