package planning_test

import (
	"errors"
	"math"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// TestGeneratedIndexesServe: the index that a query asks for is one that it uses
// from then on, entities are not looked at, and who requires indexes takes it.
func TestGeneratedIndexesServe(t *testing.T) {
	equal := func(name string) *pb.Filter { return property(name, pb.PropertyFilter_EQUAL, integer(1)) }
	above := func(name string) *pb.Filter { return property(name, pb.PropertyFilter_GREATER_THAN, integer(0)) }
	ancestor := property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(parent(1)))
	const and, or = pb.CompositeFilter_AND, pb.CompositeFilter_OR
	for _, q := range []*pb.Query{
		{Order: orders("a", "b")},
		{Order: orders("a", "-b")},
		{Order: orders("a", "-__key__")},
		{Filter: equal("a"), Order: orders("b")},
		{Filter: equal("a"), Order: orders("-b")},
		{Filter: equal("a"), Order: orders("-b", "c")},
		{Filter: composite(and, equal("a"), above("b"))},
		{Filter: above("b"), Order: orders("a")},
		{Filter: above("b"), Order: orders("-a")},
		{Filter: composite(and, above("c"), above("b")), Order: orders("-a")},
		{Filter: composite(and, equal("a"), ancestor), Order: orders("-b")},
		{Filter: ancestor, Order: orders("a")},
		{Filter: ancestor, Order: orders("-a")},
		{Filter: composite(or, composite(and, equal("a"), equal("c")), equal("b")), Order: orders("-d")},
		{Filter: property("a", pb.PropertyFilter_IN, list(integer(1), integer(2))), Order: orders("b")},
		{Filter: property("a", pb.PropertyFilter_IN, list(integer(1), integer(2))), Order: orders("a", "-b")},
		{Projection: projections("b", "a")},
		{Projection: projections("b", "a"), Order: orders("-b")},
		{Projection: projections("b", "a"), DistinctOn: groups("b"), Filter: equal("c")},
	} {
		store, err := storage.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &state{db: store.DB(storage.ID{Project: project}), entities: map[string]*pb.Entity{}}
		for i := range 20 {
			k := parent(1)
			k.Path = append(k.Path, &pb.Key_PathElement{Kind: "A", IdType: &pb.Key_PathElement_Id{Id: int64(i + 1)}})
			s.put(t, &pb.Entity{Key: k, Properties: map[string]*pb.Value{"a": integer(i % 2), "b": integer(i % 3), "c": integer(i % 5), "d": integer(i)}})
		}
		k, err := indexes.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		k.Subscribe(store.SetIndexes)
		q.Kind = []*pb.KindExpression{{Name: "A"}}
		parsed, err := parse(q)
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.Demand(k); err != nil {
			t.Fatal(err)
		}
		if k.Set().Len() == 0 {
			t.Errorf("%v asks for no index", q)
		}
		s.db.Read(func(v storage.View) {
			r := parsed.Run(v, math.MaxInt, math.MaxInt)
			if len(r.Hits) == 0 || r.Entities > 0 {
				t.Errorf("%v with %v looks at %d entities for %d results", q, k.Set().All(), r.Entities, len(r.Hits))
			}
		})
		if err := parsed.Demand(required{k.Set()}); err != nil {
			t.Errorf("%v with %v: %v", q, k.Set().All(), err)
		}
		if err := parsed.Demand(required{indexes.NewSet()}); err == nil {
			t.Errorf("%v needs no index where it is required", q)
		}
	}
}

// required refuses what its indexes don't serve.
type required struct{ set *indexes.Set }

func (r required) Set() *indexes.Set { return r.set }

func (r required) Missing(indexes.Query) error { return errors.New("missing") }
