package storage

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"google.golang.org/protobuf/proto"
)

// kept is all that a restart must bring back of a database.
type kept struct {
	Version   int64
	Rows      map[string]int64
	Repeats   map[string]int
	Changes   []string // of the past
	Deletions map[string]int64
	Bodies    map[string]string
}

func keptOf(db *DB) kept {
	k := kept{Version: db.version, Rows: rows(View{tables: db.tables}), Repeats: map[string]int{}, Deletions: db.gone.versions, Bodies: map[string]string{}}
	db.tables.repeats.tree.Scan(func(r repeat) bool {
		k.Repeats[r.prefix] = r.entities
		return true
	})
	told := func(e *Entity) string {
		if e == nil {
			return "none"
		}
		return fmt.Sprintf("%q of %d, created %d: %x", e.Key(), e.Version, e.Created(), e.Body())
	}
	for _, c := range db.history.changes {
		k.Changes = append(k.Changes, fmt.Sprintf("%d: %s -> %s", c.version, told(c.before), told(c.after)))
	}
	View{tables: db.tables}.Ascend(encoding.AllEntities, encoding.AllKinds, func(r Row) bool {
		k.Bodies[r.Key()] = told(r.Entity)
		return true
	})
	return k
}

// TestRestartBringsAllBack: more entities than are gathered at once, written,
// overwritten and deleted by commits to two databases, in two namespaces that have
// the same paths, with properties that come and go, have several values, or values
// of several types; before, in and after a checkpoint.
func TestRestartBringsAllBack(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(&Options{Dir: dir, Fsync: "never"})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	mutation := func(i int) Mutation {
		k := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p", NamespaceId: []string{"", "n"}[random.IntN(2)]}, Path: []*pb.Key_PathElement{
			{Kind: "Parent", IdType: &pb.Key_PathElement_Id{Id: int64(1 + i%7)}},
			{Kind: fmt.Sprint("Kind", i%3), IdType: &pb.Key_PathElement_Name{Name: strings.Repeat("x", i%20) + fmt.Sprint(i)}}}}
		if random.IntN(10) == 0 {
			wire, err := proto.Marshal(k)
			if err != nil {
				t.Fatal(err)
			}
			return Mutation{Op: Delete, Key: encoding.EntityRow(k), KeyWire: wire}
		}
		integer := func(n int) *pb.Value {
			return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(n)}}
		}
		text := &pb.Value{ValueType: &pb.Value_StringValue{StringValue: fmt.Sprintf("long beginning %d", random.IntN(1000))}}
		properties := map[string]*pb.Value{"n": integer(random.IntN(5) - 2), "text": text}
		switch random.IntN(5) {
		case 0:
			properties["n"] = text
		case 1:
			delete(properties, "text")
		case 2:
			properties["many"] = &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{
				Values: []*pb.Value{integer(i % 3), integer(1), text}}}}
		}
		e, err := NewEntity(&pb.Entity{Key: k, Properties: properties})
		if err != nil {
			t.Fatal(err)
		}
		return Mutation{Op: Upsert, Key: e.Key(), Entity: e}
	}
	ids := []ID{{Project: "p"}, {Project: "p", Database: "d"}}
	write := func(commits, each int) {
		for range commits {
			ms := make([]Mutation, each)
			for i := range ms {
				ms[i] = mutation(random.IntN(2 * gatherSize))
			}
			if _, err := s.DB(ids[random.IntN(2)]).Commit(ms); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := func(what string, past, deletions bool) {
		t.Helper()
		before := []kept{keptOf(s.DB(ids[0])), keptOf(s.DB(ids[1]))}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(&Options{Dir: dir, Fsync: "never"}); err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			if !past {
				before[i].Changes = nil
			}
			after := keptOf(s.DB(id))
			if !deletions { // what a commit is told of them is less exact, but right
				before[i].Deletions, after.Deletions = nil, nil
			}
			if !reflect.DeepEqual(before[i], after) {
				t.Fatalf("%s: database %q (-before +after):\n%.5000s", what, id.Database, cmp.Diff(before[i], after))
			}
			db := s.DB(id)
			db.tables.tree.check(t)
		}
	}
	write(30, 250)
	if n := len(keptOf(s.DB(ids[0])).Bodies); n < gatherSize+gatherSize/4 {
		t.Fatalf("%d entities are too few", n)
	}
	again("after commits", true, true)
	write(300, 1)
	again("after small commits", true, true)
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	again("after a checkpoint", false, false)
	write(20, 100)
	again("after a checkpoint and commits", true, true)
	if _, err := s.DB(ids[1]).Reset(); err != nil {
		t.Fatal(err)
	}
	again("after a reset", true, false)
	write(10, 100)
	again("after a reset and commits", true, false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
