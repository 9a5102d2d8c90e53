package storage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/internal/journal"
	"pgregory.net/rapid"
)

// moment is a state that somebody was shown.
type moment struct {
	time, version int64
	rows          map[string]int64
}

// TestThePast: after any commits, every state that was ever shown is still
// there at its time, also after a restart without a checkpoint.
func TestThePast(t *testing.T) {
	base, n := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		o := &Options{Dir: fmt.Sprintf("%s/%d", base, n), Fsync: "never"}
		s, err := Open(o)
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		db := s.DB(ID{Project: "p"})
		var seen []moment
		look := func() {
			db.Read(func(v View) { seen = append(seen, moment{db.TimeOf(v), v.Version, rows(v)}) })
		}
		compare := func() {
			m := rapid.SampledFrom(seen).Draw(r, "moment")
			v, err := db.At(m.time)
			if err != nil {
				r.Fatal(err)
			}
			if v.Version != m.version || v.Time != m.time {
				r.Errorf("version %d, time %d; want %d, %d", v.Version, v.Time, m.version, m.time)
			}
			if got := rows(v); !maps.Equal(got, m.rows) {
				r.Fatalf("at %d (-want +got):\n%s", m.time, cmp.Diff(m.rows, got))
			}
		}
		look()
		for range rapid.IntRange(1, 12).Draw(r, "commits") {
			var ms []Mutation
			for range rapid.IntRange(1, 3).Draw(r, "mutations") {
				name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "name")
				if rapid.IntRange(0, 2).Draw(r, "op") == 0 {
					ms = append(ms, remove(t, name))
				} else {
					ms = append(ms, upsert(t, name, rapid.Int64Range(0, 3).Draw(r, "n")))
				}
			}
			if _, err := db.Commit(ms); err != nil {
				r.Fatal(err)
			}
			if rapid.Bool().Draw(r, "look") {
				look()
			}
			if rapid.Bool().Draw(r, "compare") {
				compare()
			}
		}
		look()
		compare()
		if err := s.Close(); err != nil {
			r.Fatal(err)
		}
		if s, err = Open(o); err != nil {
			r.Fatal(err)
		}
		db = s.DB(ID{Project: "p"})
		for range 3 {
			compare()
		}
	})
}

// TestThePastEnds: after an hour, at a reset, with its bytes and at a checkpoint
// when the server starts anew; the error says where.
func TestThePastEnds(t *testing.T) {
	commit := func(t *testing.T, db *DB, n int64) int64 {
		t.Helper()
		done, err := db.Commit([]Mutation{upsert(t, "a", n)})
		if err != nil {
			t.Fatal(err)
		}
		return done.Version
	}
	ends := func(t *testing.T, db *DB, oldest int64) {
		t.Helper()
		if _, err := db.At(oldest); err != nil {
			t.Errorf("at %d: %v", oldest, err)
		}
		_, err := db.At(oldest - 1)
		if e, ok := errors.AsType[*TooOldError](err); !ok || e.Oldest != oldest {
			t.Errorf("before %d: %v", oldest, err)
		}
	}
	t.Run("age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _ := Open(nil)
			db := s.DB(ID{Project: "p"})
			commit(t, db, 1)
			ends(t, db, s.now()-time.Hour.Microseconds())
			time.Sleep(2 * time.Hour)
			ends(t, db, s.now()-time.Hour.Microseconds())
			commit(t, db, 2)
			if n := len(db.history.changes); n != 1 {
				t.Errorf("%d changes are kept; want the last one", n)
			}
		})
	})
	t.Run("reset", func(t *testing.T) {
		s, _ := Open(nil)
		db := s.DB(ID{Project: "p"})
		commit(t, db, 1)
		if _, err := db.Reset(); err != nil {
			t.Fatal(err)
		}
		ends(t, db, db.version)
	})
	t.Run("checkpoint", func(t *testing.T) {
		dir := t.TempDir()
		s, err := Open(&Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		db := s.DB(ID{Project: "p"})
		commit(t, db, 1)
		version := commit(t, db, 2)
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		commit(t, db, 3)
		if _, err := db.At(version - 1); err != nil {
			t.Errorf("a checkpoint ends the past of a running server: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(&Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ends(t, s.DB(ID{Project: "p"}), version)
	})
	t.Run("bytes", func(t *testing.T) {
		s, _ := Open(nil)
		db := s.DB(ID{Project: "p"})
		large := entity("large", 1)
		large.Properties["blob"] = &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: make([]byte, 1<<20-1<<10)}, ExcludeFromIndexes: true}
		var versions []int64
		for i := range historyBytes>>20 + 10 {
			large.Properties["n"] = &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(i)}}
			e, err := NewEntity(large)
			if err != nil {
				t.Fatal(err)
			}
			done, err := db.Commit([]Mutation{{Op: Upsert, Key: e.Key(), Entity: e}})
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, done.Version)
		}
		if db.history.bytes > historyBytes {
			t.Errorf("%d bytes are kept; want at most %d", db.history.bytes, historyBytes)
		}
		if i := slices.Index(versions, db.history.horizon); i < 5 || i > 15 {
			t.Errorf("the past ends at the commit number %d of %d", i, len(versions))
		}
		ends(t, db, db.history.horizon)
	})
}

// TestRefusedRecords: when the journal refuses a commit, nothing has happened.
func TestRefusedRecords(t *testing.T) {
	s, err := Open(&Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	db := s.DB(ID{Project: "p"})
	done, err := db.Commit([]Mutation{upsert(t, "a", 1)})
	if err != nil {
		t.Fatal(err)
	}
	before := rows(db.Snapshot())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Commit([]Mutation{upsert(t, "a", 2), upsert(t, "b", 2)}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("a commit: %v; want %v", err, journal.ErrClosed)
	}
	if _, err := db.Reset(); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("a reset: %v; want %v", err, journal.ErrClosed)
	}
	after := db.Snapshot()
	if diff := cmp.Diff(before, rows(after)); diff != "" || after.Version != done.Version {
		t.Errorf("version %d, was %d; rows (-want +got):\n%s", after.Version, done.Version, diff)
	}
	if past, err := db.At(done.Version); err != nil || !maps.Equal(rows(past), before) {
		t.Errorf("at the version of the commit: %v, %v", rows(past), err)
	}
}

// TestIndexesOfThePast: a past state has the rows of the composite indexes, also
// of one that came later.
func TestIndexesOfThePast(t *testing.T) {
	s, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	db := s.DB(ID{Project: "p"})
	definition := func(first string, second string) indexes.Definition {
		return indexes.Definition{Kind: "K", Properties: []indexes.Property{{Name: first}, {Name: second}}}
	}
	set := indexes.NewSet(definition("n", "half"))
	s.SetIndexes(set)
	var times []int64
	for n := range int64(3) {
		if _, err := db.Commit([]Mutation{upsert(t, "x", n*10), upsert(t, fmt.Sprint(n), n)}); err != nil {
			t.Fatal(err)
		}
		times = append(times, db.version)
	}
	for _, all := range []int{1, 2} {
		for n, at := range times {
			v, err := db.At(at)
			if err != nil {
				t.Fatal(err)
			}
			composites := v.Composites("K")
			if len(composites) != all {
				t.Fatalf("%d indexes; want %d", len(composites), all)
			}
			for _, c := range composites {
				if got := c.tree.Len(); got != n+2 { // x and those until now
					t.Errorf("state %d has %d rows of %v; want %d", n, got, c.Definition, n+2)
				}
			}
		}
		set = indexes.NewSet(definition("n", "half"), definition("half", "n"))
		s.SetIndexes(set)
	}
}

// BenchmarkAt reads states of 1,000 and 100,000 changes ago, in a database of
// 100,000 entities.
func BenchmarkAt(b *testing.B) {
	s, err := Open(nil)
	if err != nil {
		b.Fatal(err)
	}
	db := s.DB(ID{Project: "p"})
	const n = 100_000
	times := map[int]int64{}
	for i := range 2 * n {
		if _, err := db.Commit([]Mutation{upsert(b, fmt.Sprint(i%n), int64(i))}); err != nil {
			b.Fatal(err)
		}
		times[2*n-1-i] = db.version
	}
	for _, changes := range []int{0, 1000, n} {
		b.Run(fmt.Sprintf("changes=%d", changes), func(b *testing.B) {
			for b.Loop() {
				db.history.views = nil
				v, err := db.At(times[changes])
				if err != nil {
					b.Fatal(err)
				}
				if got := v.Get(upsert(b, "7", 0).Key); got == nil {
					b.Fatal("missing")
				}
			}
		})
	}
}
