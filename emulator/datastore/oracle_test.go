package datastore_test

import (
	"errors"
	"testing"

	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/diff"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/generate"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/oracle"
)

// TestLikeGoogle sends one short stream of random requests to us and to both of
// Google's emulators. `make diff-datastore` sends long ones. Every difference is
// in docs/datastore-differences.md.
func TestLikeGoogle(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two Java processes")
	}
	var theirs []diff.Server
	for _, kind := range []oracle.Kind{oracle.FS, oracle.DS} {
		p, err := oracle.Start(t.Context(), kind)
		if _, missing := errors.AsType[*oracle.MissingError](err); missing {
			t.Skipf("NOT COMPARED WITH GOOGLE'S EMULATORS: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		theirs = append(theirs, diff.Server{Name: string(kind), Client: p.Client})
	}
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			ours := start(t, &datastore.Options{Concurrency: mode, IndexMode: "off"}).raw()
			r := &diff.Runner{Ours: diff.Server{Name: "ours", Client: ours}, Theirs: theirs, Table: diff.Justified(), Counts: diff.NewCounts()}
			failures, err := r.All(t.Context(), generate.Scripts(1, 300), 4, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range failures {
				t.Error(r.Shrink(t.Context(), f))
			}
			if n := r.Counts.Operations(); n < 300 && !t.Failed() {
				t.Errorf("%d operations; want 300", n)
			}
		})
	}
}
