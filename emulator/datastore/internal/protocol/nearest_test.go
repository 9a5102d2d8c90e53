package protocol

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

func vectorValue(components ...float64) *pb.Value {
	list := &pb.ArrayValue{}
	for _, c := range components {
		list.Values = append(list.Values, doubleValue(c))
	}
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: list}, Meaning: meaningVector, ExcludeFromIndexes: true}
}

// library is a service over a store into which tests put entities.
type library struct {
	*Service
	store *storage.Store
}

func newLibrary(t testing.TB) *library {
	store, err := storage.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &library{New(store, transactions.Options{}), store}
	t.Cleanup(l.Close)
	return l
}

func (l *library) put(t interface{ Fatal(...any) }, namespace string, all ...*pb.Entity) {
	var mutations []storage.Mutation
	for _, m := range all {
		m.Key.PartitionId = &pb.PartitionId{ProjectId: "p", NamespaceId: namespace}
		e, err := storage.NewEntity(m)
		if err != nil {
			t.Fatal(err)
		}
		mutations = append(mutations, storage.Mutation{Op: storage.Upsert, Key: encoding.EntityRow(m.Key), Entity: e})
	}
	if _, err := l.store.DB(storage.ID{Project: "p"}).Commit(mutations); err != nil {
		t.Fatal(err)
	}
}

func entityOf(kind string, id int64, properties map[string]*pb.Value) *pb.Entity {
	return &pb.Entity{Key: &pb.Key{Path: []*pb.Key_PathElement{{Kind: kind, IdType: &pb.Key_PathElement_Id{Id: id}}}}, Properties: properties}
}

type contexter interface{ Context() context.Context }

// run answers a query as a client sees it, the wire form decoded.
func (l *library) run(t contexter, namespace string, q *pb.Query) (*pb.QueryResultBatch, error) {
	resp, err := l.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: "p", PartitionId: &pb.PartitionId{NamespaceId: namespace},
		QueryType: &pb.RunQueryRequest_Query{Query: q}})
	if err != nil {
		return nil, err
	}
	wire, err := proto.Marshal(resp.GetBatch())
	if err != nil {
		return nil, err
	}
	batch := new(pb.QueryResultBatch)
	return batch, proto.Unmarshal(wire, batch)
}

// TestNearestIsBruteForce: a search finds what measuring all vectors and
// sorting gives.
func TestNearestIsBruteForce(t *testing.T) {
	l := newLibrary(t)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		namespace := fmt.Sprintf("n%d", n)
		component := rapid.SampledFrom([]float64{-2, -1, 0, 0.5, 1, 3, math.Inf(1)})
		vector := rapid.SliceOfN(component, 1, 3)
		find := &pb.FindNearest{
			VectorProperty:         &pb.PropertyReference{Name: rapid.SampledFrom([]string{"v", "e.v"}).Draw(r, "property")},
			DistanceMeasure:        pb.FindNearest_DistanceMeasure(rapid.IntRange(1, 3).Draw(r, "measure")),
			Limit:                  wrapperspb.Int32(int32(rapid.IntRange(1, 5).Draw(r, "limit"))),
			DistanceResultProperty: "distance",
		}
		wanted := vector.Draw(r, "wanted")
		find.QueryVector = vectorValue(wanted...)
		if rapid.Bool().Draw(r, "threshold?") {
			find.DistanceThreshold = wrapperspb.Double(rapid.Float64Range(-3, 3).Draw(r, "threshold"))
		}
		filtered := rapid.Bool().Draw(r, "filtered")

		type result struct {
			id       int64
			distance float64
		}
		var entities []*pb.Entity
		var want []result
		for id := range int64(rapid.IntRange(0, 12).Draw(r, "entities")) {
			v := vector.Draw(r, "vector")
			group := int64(rapid.IntRange(0, 1).Draw(r, "group"))
			e := entityOf("V", id+1, map[string]*pb.Value{"g": integerValue(group), "other": vectorValue(1)})
			holder := e
			if find.VectorProperty.Name == "e.v" {
				holder = &pb.Entity{Properties: map[string]*pb.Value{}}
				e.Properties["e"] = &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: holder}}
			}
			holder.Properties["v"] = vectorValue(v...)
			plain := rapid.IntRange(0, 9).Draw(r, "plain") == 0
			if plain {
				holder.Properties["v"].Meaning = 0 // a list of numbers, no vector
			}
			entities = append(entities, e)
			if plain || len(v) != len(wanted) || filtered && group == 0 {
				continue
			}
			d := measured(find.DistanceMeasure, v, wanted)
			far := find.DistanceThreshold != nil && d > find.DistanceThreshold.Value
			if find.DistanceMeasure == pb.FindNearest_DOT_PRODUCT {
				far = find.DistanceThreshold != nil && d < find.DistanceThreshold.Value
			}
			if !far && !math.IsNaN(d) {
				want = append(want, result{id + 1, d})
			}
		}
		slices.SortStableFunc(want, func(a, b result) int {
			if find.DistanceMeasure == pb.FindNearest_DOT_PRODUCT {
				a, b = b, a
				return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(b.id, a.id))
			}
			return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.id, b.id))
		})
		want = want[:min(len(want), int(find.Limit.Value))]

		if len(entities) > 0 {
			l.put(r, namespace, entities...)
		}
		q := &pb.Query{Kind: []*pb.KindExpression{{Name: "V"}}, FindNearest: find}
		if filtered {
			q.Filter = &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
				Property: &pb.PropertyReference{Name: "g"}, Op: pb.PropertyFilter_EQUAL, Value: integerValue(1)}}}
		}
		batch, err := l.run(r, namespace, q)
		if err != nil {
			r.Fatal(err)
		}
		var got []result
		for _, e := range batch.GetEntityResults() {
			got = append(got, result{e.GetEntity().GetKey().GetPath()[0].GetId(), e.GetEntity().GetProperties()["distance"].GetDoubleValue()})
		}
		if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(result{})); diff != "" {
			r.Fatalf("%v (-want +got):\n%s", find, diff)
		}
	})
}

// measured is a second opinion on distance.
func measured(m pb.FindNearest_DistanceMeasure, a, b []float64) float64 {
	product := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum
	}
	switch m {
	case pb.FindNearest_EUCLIDEAN:
		var difference []float64
		for i := range a {
			difference = append(difference, b[i]-a[i])
		}
		return math.Sqrt(product(difference, difference))
	case pb.FindNearest_COSINE:
		return 1 - product(a, b)/(math.Sqrt(product(b, b))*math.Sqrt(product(a, a)))
	}
	return product(a, b)
}

// TestTooLargeNeighbors: results that fit no answer are refused, and with them
// goes the transaction that was to begin with them: nobody knows of it.
func TestTooLargeNeighbors(t *testing.T) {
	l := newLibrary(t)
	data := &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: make([]byte, 900_000)}, ExcludeFromIndexes: true}
	for i := range 5 {
		l.put(t, "", entityOf("V", int64(i+1), map[string]*pb.Value{"v": vectorValue(1), "data": data}))
	}
	_, err := l.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: "p",
		ReadOptions: &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_NewTransaction{NewTransaction: &pb.TransactionOptions{}}},
		QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{Kind: []*pb.KindExpression{{Name: "V"}}, FindNearest: &pb.FindNearest{
			VectorProperty: &pb.PropertyReference{Name: "v"}, QueryVector: vectorValue(1), Limit: wrapperspb.Int32(10),
			DistanceMeasure: pb.FindNearest_EUCLIDEAN}}}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v; want RESOURCE_EXHAUSTED", err)
	}
	if n := l.Transactions().Open; n != 0 {
		t.Errorf("%d transactions are open; want none", n)
	}
}

// vectorOf is what appendVector is to find, of a decoded entity.
func vectorOf(e *pb.Entity, path string) (components []float64, ok bool) {
	if v, whole := e.GetProperties()[path]; whole {
		for _, element := range v.GetArrayValue().GetValues() {
			d, isDouble := element.GetValueType().(*pb.Value_DoubleValue)
			if !isDouble {
				return nil, false
			}
			components = append(components, d.DoubleValue)
		}
		return components, v.GetMeaning() == meaningVector
	}
	for i := range len(path) {
		if sub := e.GetProperties()[path[:i]].GetEntityValue(); path[i] == '.' && sub != nil {
			if components, ok = vectorOf(sub, path[i+1:]); ok {
				return components, true
			}
		}
	}
	return nil, false
}

// FuzzAppendVector: bytes of any kind are read or refused, and what is read is
// what decoding gives.
func FuzzAppendVector(f *testing.F) {
	sub := func(properties map[string]*pb.Value) *pb.Value {
		return &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: properties}}}
	}
	e := entityOf("V", 1, map[string]*pb.Value{"v": vectorValue(1, 2.5), "w": integerValue(1), "": vectorValue(8),
		"a":   sub(map[string]*pb.Value{"b": sub(map[string]*pb.Value{"c": vectorValue(1)}), "b.d": vectorValue(2), "b.c.e": vectorValue(3)}),
		"a.b": sub(map[string]*pb.Value{"c": vectorValue(4), "e": vectorValue(5), "": vectorValue(6)})})
	wire, err := proto.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{"v", "v.w", "w", "", "a.b", "a.b.c", "a.b.d", "a.b.e", "a.b.c.e", "a.b.", "a.", "."} {
		f.Add(wire, path)
	}
	f.Add([]byte{0x1a, 0x80}, "")
	f.Fuzz(func(t *testing.T, wire []byte, path string) {
		appendVector(nil, wire, path)
		m := new(pb.Entity)
		if proto.Unmarshal(wire, m) != nil || strings.Count(path, ".") > maxNesting {
			return
		}
		// What our own store holds is canonical: so is what is compared here.
		canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		want, wantOK := vectorOf(m, path)
		got, ok := appendVector(nil, canonical, path)
		equal := slices.EqualFunc(got, want, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
		if ok != wantOK || ok && !equal {
			t.Fatalf("%q has %v, %v; want %v, %v", path, got, ok, want, wantOK)
		}
	})
}

// TestLongVectorPaths: the entity is gone through once, whatever the path. Once
// for each of its dots would take hours.
func TestLongVectorPaths(t *testing.T) {
	properties := map[string]*pb.Value{}
	for i := range 10_000 {
		properties[fmt.Sprint(i)] = integerValue(1)
	}
	wire, err := proto.Marshal(entityOf("V", 1, properties))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := appendVector(nil, wire, strings.Repeat("a.", 5<<20)); ok {
		t.Error("found a vector where there is none")
	}
}
