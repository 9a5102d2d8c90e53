package storage

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/internal/journal"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func entity(name string, n int64) *pb.Entity {
	return &pb.Entity{
		Key: &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p"}, Path: []*pb.Key_PathElement{{
			Kind: "K", IdType: &pb.Key_PathElement_Name{Name: name}}}},
		Properties: map[string]*pb.Value{
			"n":    {ValueType: &pb.Value_IntegerValue{IntegerValue: n}},
			"half": {ValueType: &pb.Value_IntegerValue{IntegerValue: n / 2}},
		},
	}
}

func upsert(t testing.TB, name string, n int64) Mutation {
	t.Helper()
	e, err := NewEntity(entity(name, n))
	if err != nil {
		t.Fatal(err)
	}
	return Mutation{Op: Upsert, Key: e.Key(), Entity: e}
}

func remove(t testing.TB, name string) Mutation {
	t.Helper()
	k := entity(name, 0).GetKey()
	wire, err := proto.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	return Mutation{Op: Delete, Key: encoding.EntityRow(k), KeyWire: wire}
}

// rows lists all rows of a view with the versions behind them.
func rows(v View) map[string]int64 {
	all := map[string]int64{}
	v.Ascend("", "", func(r Row) bool {
		all[r.Key()] = r.Entity.Version
		return true
	})
	return all
}

// TestRowsFollowEntities: after any commits, the rows are those of the
// entities, a snapshot has not moved, and a reopened folder has the same, with
// and without a checkpoint.
func TestRowsFollowEntities(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		dir := fmt.Sprintf("%s/%d", base, n)
		s, err := Open(&Options{Dir: dir})
		if err != nil {
			r.Fatal(err)
		}
		db := s.DB(ID{Project: "p"})
		model := map[string]int64{}
		versions := map[string]int64{}
		var snapshot View
		var then map[string]int64
		for range rapid.IntRange(1, 8).Draw(r, "commits") {
			var ms []Mutation
			for range rapid.IntRange(1, 4).Draw(r, "mutations") {
				name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "name")
				if rapid.IntRange(0, 3).Draw(r, "op") == 0 {
					ms = append(ms, remove(t, name))
					delete(model, name)
				} else {
					v := rapid.Int64Range(0, 5).Draw(r, "n")
					ms = append(ms, upsert(t, name, v))
					model[name] = v
				}
			}
			done, err := db.Commit(ms)
			if err != nil {
				r.Fatal(err)
			}
			for i, m := range ms {
				versions[m.Key] = done.Results[i].Version
			}
			switch rapid.IntRange(0, 4).Draw(r, "then") {
			case 0:
				snapshot = db.Snapshot()
				then = rows(snapshot)
			case 1:
				if err := s.Checkpoint(); err != nil {
					r.Fatal(err)
				}
			}
		}
		want := map[string]int64{}
		for name, v := range model {
			all, err := encoding.RowsOf(entity(name, v))
			if err != nil {
				r.Fatal(err)
			}
			for row := range all.All() {
				want[row] = versions[all.Row(0)]
			}
		}
		if diff := cmp.Diff(want, rows(View{tables: db.tables})); diff != "" {
			r.Fatalf("rows (-want +got):\n%s", diff)
		}
		if then != nil && !maps.Equal(then, rows(snapshot)) {
			r.Fatal("the snapshot moved")
		}
		last := db.version
		if err := s.Close(); err != nil {
			r.Fatal(err)
		}
		if s, err = Open(&Options{Dir: dir}); err != nil {
			r.Fatal(err)
		}
		defer s.Close()
		db = s.DB(ID{Project: "p"})
		if diff := cmp.Diff(want, rows(View{tables: db.tables})); diff != "" || db.version != last {
			r.Fatalf("after a restart, version %d, was %d; rows (-want +got):\n%s", db.version, last, diff)
		}
	})
}

// TestIdentifiersAreSynced: under fsync=always, what AllocateIDs and ReserveIDs
// have acknowledged is on stable storage. A journal vouches for what it has
// synced: it refuses a folder in which that has changed, and cuts off the rest.
func TestIdentifiersAreSynced(t *testing.T) {
	for name, f := range map[string]func(*DB) error{
		"allocate": func(db *DB) error { return db.AllocateIDs([]*pb.Key{entity("", 0).GetKey()}) },
		"reserve":  func(db *DB) error { return db.ReserveIDs([]int64{scatter(7)}) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, lost := t.TempDir(), t.TempDir()
			s, err := Open(&Options{Dir: dir, Fsync: journal.FsyncAlways})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := f(s.DB(ID{Project: "p"})); err != nil {
				t.Fatal(err)
			}
			logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
			if err != nil || len(logs) != 1 {
				t.Fatalf("logs %q, %v", logs, err)
			}
			b, err := os.ReadFile(logs[0])
			if err != nil {
				t.Fatal(err)
			}
			b[bytes.Index(b, []byte("\x01p\x00"))] ^= 1 // the database's name in the only record
			if err := os.WriteFile(filepath.Join(lost, filepath.Base(logs[0])), b, 0o600); err != nil {
				t.Fatal(err)
			}
			again, err := Open(&Options{Dir: lost})
			if err == nil {
				again.Close()
			}
			if !errors.Is(err, journal.ErrDamaged) {
				t.Errorf("got %v; want an error that the record was synced and has changed", err)
			}
		})
	}
}

func TestCount(t *testing.T) {
	s, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	db := s.DB(ID{Project: "p"})
	for i := range 1000 {
		if _, err := db.Commit([]Mutation{upsert(t, fmt.Sprintf("%04d", i), int64(i))}); err != nil {
			t.Fatal(err)
		}
	}
	kind := encoding.KindPrefix("", "K")
	db.Read(func(v View) {
		if got := v.Count(kind, encoding.PrefixEnd(kind)); got != 1000 {
			t.Errorf("%d rows of the kind; want 1000", got)
		}
		n := encoding.PropertyPrefix("", "K", "n")
		at := func(i int64) string {
			b, _ := encoding.AppendValue([]byte(n), entity("", i).GetProperties()["n"], "p")
			return string(b)
		}
		if got := v.Count(at(10), at(500)); got != 490 {
			t.Errorf("%d rows in the interval; want 490", got)
		}
	})
	if got := db.Kinds(); len(got) != 1 || got[0].Entities != 1000 {
		t.Errorf("kinds %v", got)
	}
}

// FuzzReplay: no record crashes the store; it is applied or refused.
func FuzzReplay(f *testing.F) {
	m := upsert(f, "a", 1)
	m.Entity.seal(5, 5)
	f.Add(appendCommit(nil, ID{"p", ""}, 7, []Mutation{m, remove(f, "b")}, make([]Result, 2)))
	f.Add(appendIDs(nil, ID{"p", ""}, 9))
	f.Add(appendReserved(nil, ID{"p", "d"}, []uint64{3, 4}))
	f.Add(appendState(nil, ID{"p", ""}, 7, 9))
	f.Add(appendEntity(appendHeader(nil, recordEntities, ID{"p", ""}), m.Entity))
	f.Add(appendReset(nil, ID{"p", ""}, 8))
	f.Fuzz(func(t *testing.T, record []byte) {
		s, err := Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		l := newLoader(s)
		_ = l.replay(record)
		_ = l.finish()
		for _, db := range s.All() {
			db.Kinds()
		}
	})
}
