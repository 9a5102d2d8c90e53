package storage

import (
	"fmt"
	"testing"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
)

// BenchmarkOpen replays a folder of 100,000 entities.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(&Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	db := s.DB(ID{Project: "p"})
	const n = 100_000
	for i := 0; i < n; i += 500 {
		ms := make([]Mutation, 500)
		for j := range ms {
			ms[j] = upsert(b, fmt.Sprint((i+j)*7919%n), int64(i+j))
		}
		if _, err := db.Commit(ms); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(&Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.DB(ID{Project: "p"}).Read(func(v View) {
			if got := v.Count(encoding.AllEntities, encoding.PrefixEnd(encoding.AllEntities)); got != n {
				b.Fatalf("%d entities; want %d", got, n)
			}
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
