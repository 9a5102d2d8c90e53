package planning_test

import (
	"math"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// TestJoinsLeap: a join of many rows that have few in common passes over most of
// them, in either direction, and finds all that they have in common.
func TestJoinsLeap(t *testing.T) {
	store, err := storage.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &state{db: store.DB(storage.ID{Project: project}), entities: map[string]*pb.Entity{}}
	const n, common = 5000, 20
	for i := range n {
		e := &pb.Entity{Key: &pb.Key{PartitionId: partition(), Path: []*pb.Key_PathElement{{Kind: "A", IdType: &pb.Key_PathElement_Id{Id: int64(i + 1)}}}},
			Properties: map[string]*pb.Value{"z": integer(i)}}
		if i < n/2+common {
			e.Properties["a"] = integer(1)
		}
		if i >= n/2 {
			e.Properties["b"] = integer(1)
		}
		s.put(t, e)
	}
	store.SetIndexes(indexes.NewSet(
		indexes.Definition{Kind: "A", Properties: []indexes.Property{{Name: "a"}, {Name: "z"}}},
		indexes.Definition{Kind: "A", Properties: []indexes.Property{{Name: "b"}, {Name: "z", Desc: true}}}, // turned round
		indexes.Definition{Kind: "A", Properties: []indexes.Property{{Name: "b"}, {Name: "z"}}},
	))
	for _, order := range [][]string{nil, {"-__key__"}, {"z"}, {"-z"}} {
		q, err := parse(&pb.Query{Kind: []*pb.KindExpression{{Name: "A"}}, Order: orders(order...), Filter: composite(pb.CompositeFilter_AND,
			property("a", pb.PropertyFilter_EQUAL, integer(1)), property("b", pb.PropertyFilter_EQUAL, integer(1)))})
		if err != nil {
			t.Fatal(err)
		}
		s.db.Read(func(v storage.View) {
			r := q.Run(v, math.MaxInt, math.MaxInt)
			if len(r.Hits) != common || r.IndexEntries > 4*common {
				t.Errorf("order %v: %d results from %d index entries; want %d from few", order, len(r.Hits), r.IndexEntries, common)
			}
			if count, scan := q.Count(v, -1); count != common || scan.IndexEntries > 4*common {
				t.Errorf("order %v: count %d from %d index entries; want %d from few", order, count, scan.IndexEntries, common)
			}
		})
	}
}

// TestUsedIndexes: what explaining shows.
func TestUsedIndexes(t *testing.T) {
	store, err := storage.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	store.SetIndexes(indexes.NewSet(
		indexes.Definition{Kind: "A", Ancestor: true, Properties: []indexes.Property{{Name: "a"}, {Name: "z", Desc: true}}},
		indexes.Definition{Kind: "A", Properties: []indexes.Property{{Name: "a"}, {Name: "__key__", Desc: true}, {Name: "z"}}},
	))
	equal := func(name string) *pb.Filter { return property(name, pb.PropertyFilter_EQUAL, integer(1)) }
	and := func(filters ...*pb.Filter) *pb.Filter { return composite(pb.CompositeFilter_AND, filters...) }
	for _, c := range []struct {
		q    *pb.Query
		want []planning.UsedIndex
	}{
		{&pb.Query{}, []planning.UsedIndex{{"Collection Group", "(__name__ ASC)"}}},
		{&pb.Query{Order: orders("-a")}, []planning.UsedIndex{{"Collection Group", "(a DESC, __name__ DESC)"}}},
		{&pb.Query{Filter: and(equal("a"), equal("b"))}, []planning.UsedIndex{{"Collection Group", "(a ASC, __name__ ASC)"}, {"Collection Group", "(b ASC, __name__ ASC)"}}},
		{&pb.Query{Filter: and(equal("a"), property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(parent(1)))), Order: orders("z")},
			[]planning.UsedIndex{{"Includes ancestors", "(a ASC, z DESC, __name__ DESC)"}}},
		{&pb.Query{Filter: equal("a"), Order: orders("__key__", "-z")}, []planning.UsedIndex{{"Collection Group", "(a ASC, __name__ DESC, z ASC)"}}},
	} {
		c.q.Kind = []*pb.KindExpression{{Name: "A"}}
		q, err := parse(c.q)
		if err != nil {
			t.Fatal(err)
		}
		store.DB(storage.ID{Project: project}).Read(func(v storage.View) {
			got := q.Run(v, 1, math.MaxInt).Indexes
			if len(got) != len(c.want) || got[0] != c.want[0] || got[len(got)-1] != c.want[len(got)-1] {
				t.Errorf("%v uses %v; want %v", c.q, got, c.want)
			}
		})
	}
}
