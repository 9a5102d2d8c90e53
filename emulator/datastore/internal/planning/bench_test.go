package planning_test

import (
	"fmt"
	"math"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func text(s string) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: s}}
}

func integer(i int) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(i)}}
}

func double(f float64) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: f}}
}

func parent(id int) *pb.Key {
	return &pb.Key{PartitionId: partition(), Path: []*pb.Key_PathElement{
		{Kind: "Parent", IdType: &pb.Key_PathElement_Id{Id: int64(id)}}}}
}

const crowd = 100_000

// crowded is a store with many entities of the size that small programs have.
func crowded(b *testing.B) (*storage.Store, *storage.DB) {
	b.Helper()
	store, err := storage.Open(nil)
	if err != nil {
		b.Fatal(err)
	}
	db := store.DB(storage.ID{Project: project})
	var mutations []storage.Mutation
	for i := range crowd {
		k := parent(i/200 + 1)
		k.Path = append(k.Path, &pb.Key_PathElement{Kind: "A", IdType: &pb.Key_PathElement_Id{Id: int64(i + 1)}})
		note := text("some text that nobody searches for, as there is in most entities")
		note.ExcludeFromIndexes = true
		e, err := storage.NewEntity(&pb.Entity{Key: k, Properties: map[string]*pb.Value{
			"name": text(fmt.Sprintf("name-%06d", i)), "shard": integer(i % 1000),
			"parity": text([]string{"even", "odd"}[i%2]), "half": integer(i / (crowd / 2)), "size": double(float64(i)), "note": note}})
		if err != nil {
			b.Fatal(err)
		}
		mutations = append(mutations, storage.Mutation{Op: storage.Upsert, Key: e.Key(), Entity: e})
		if len(mutations) == 500 {
			if _, err := db.Commit(mutations); err != nil {
				b.Fatal(err)
			}
			mutations = nil
		}
	}
	return store, db
}

func BenchmarkQueries(b *testing.B) {
	store, db := crowded(b)
	const eq, and = pb.PropertyFilter_EQUAL, pb.CompositeFilter_AND
	odd := property("parity", eq, text("odd"))
	var shards []*pb.Value
	for i := range 10 {
		shards = append(shards, integer(i*7))
	}
	order := func(names ...string) (orders []*pb.PropertyOrder) {
		for _, name := range names {
			o := &pb.PropertyOrder{Property: &pb.PropertyReference{Name: name}, Direction: pb.PropertyOrder_ASCENDING}
			if name[0] == '-' {
				o.Property.Name, o.Direction = name[1:], pb.PropertyOrder_DESCENDING
			}
			orders = append(orders, o)
		}
		return orders
	}
	definition := func(names ...string) indexes.Definition {
		d := indexes.Definition{Kind: "A"}
		for _, name := range names {
			d.Properties = append(d.Properties, indexes.Property{Name: name})
		}
		return d
	}
	for _, c := range []struct {
		name    string
		query   *pb.Query
		indexes []indexes.Definition
		count   bool
		want    int
	}{
		{name: "count/kind", count: true, want: crowd, query: &pb.Query{}},
		{name: "count/one filter", count: true, want: crowd / 2, query: &pb.Query{Filter: odd}},
		{name: "count/inequality", count: true, want: crowd - 10, query: &pb.Query{Filter: property("size", pb.PropertyFilter_GREATER_THAN_OR_EQUAL, double(10))}},
		{name: "count/two filters", count: true, want: crowd / 4, query: &pb.Query{Filter: composite(and, odd, property("half", eq, integer(1)))}},
		{name: "count/equality and inequality, no index", count: true, want: crowd / 2, query: &pb.Query{Filter: composite(and, odd, property("size", pb.PropertyFilter_GREATER_THAN_OR_EQUAL, double(0)))}},
		{name: "count/equality and inequality", count: true, want: crowd / 2, query: &pb.Query{Filter: composite(and, odd, property("size", pb.PropertyFilter_GREATER_THAN_OR_EQUAL, double(0)))},
			indexes: []indexes.Definition{definition("parity", "size")}},
		{name: "count/in 10", count: true, want: crowd / 100, query: &pb.Query{Filter: property("shard", pb.PropertyFilter_IN, list(shards...))}},
		{name: "count/or", count: true, want: crowd * 3 / 4, query: &pb.Query{Filter: composite(pb.CompositeFilter_OR, odd, property("half", eq, integer(1)))}},
		{name: "ancestor and filter", want: 100, query: &pb.Query{Filter: composite(and, odd, property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(parent(42))))}},
		{name: "in 10", want: 300, query: &pb.Query{Filter: property("shard", pb.PropertyFilter_IN, list(shards...))}},
		{name: "or, ordered", want: 100, query: &pb.Query{Filter: composite(pb.CompositeFilter_OR, odd, property("shard", eq, integer(4))), Order: order("-size"), Limit: wrapperspb.Int32(100)}},
		{name: "or, ordered, indexes", want: 100, query: &pb.Query{Filter: composite(pb.CompositeFilter_OR, odd, property("shard", eq, integer(4))), Order: order("-size"), Limit: wrapperspb.Int32(100)},
			indexes: []indexes.Definition{definition("parity", "size"), definition("shard", "size")}},
		{name: "unequal, limited", want: 100, query: &pb.Query{Filter: property("shard", pb.PropertyFilter_NOT_EQUAL, integer(3)), Limit: wrapperspb.Int32(100)}},
		{name: "filter and order, no index", want: 100, query: &pb.Query{Filter: property("shard", eq, integer(7)), Order: order("-size")}},
		{name: "two orders", want: 300, query: &pb.Query{Order: order("parity", "size")}, indexes: []indexes.Definition{definition("parity", "size")}},
		{name: "zig-zag", want: 50, query: &pb.Query{Filter: composite(and, property("half", eq, integer(1)), property("shard", eq, integer(7))), Order: order("size")},
			indexes: []indexes.Definition{definition("half", "size"), definition("shard", "size")}},
	} {
		b.Run(c.name, func(b *testing.B) {
			store.SetIndexes(indexes.NewSet(c.indexes...))
			c.query.Kind = []*pb.KindExpression{{Name: "A"}}
			b.ReportAllocs()
			for b.Loop() {
				q, err := planning.Parse(partition(), c.query, func(*pb.Key) error { return nil }, nil)
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				db.Read(func(v storage.View) {
					if c.count {
						n, _ = q.Count(v, -1)
					} else {
						n = len(q.Run(v, planning.MaxBatch, math.MaxInt).Hits)
					}
				})
				if n != c.want {
					b.Fatalf("%d results; want %d", n, c.want)
				}
			}
		})
	}
}
