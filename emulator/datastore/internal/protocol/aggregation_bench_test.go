package protocol

import (
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// many is a library with 100,000 entities in two groups.
func many(b *testing.B, dimensions int) *library {
	l := newLibrary(b)
	const n = 100_000
	components := make([]float64, dimensions)
	for from := 0; from < n; from += 500 {
		var all []*pb.Entity
		for i := from; i < from+500; i++ {
			e := entityOf("E", int64(i+1), map[string]*pb.Value{"n": integerValue(int64(i)), "g": integerValue(int64(i % 2))})
			if dimensions > 0 {
				for j := range components {
					components[j] = float64((i*31 + j*17) % 101)
				}
				e.Properties["v"] = vectorValue(components...)
			}
			all = append(all, e)
		}
		l.put(b, "", all...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return l
}

func BenchmarkAggregations(b *testing.B) {
	group := &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
		Property: &pb.PropertyReference{Name: "g"}, Op: pb.PropertyFilter_EQUAL, Value: integerValue(1)}}}
	count := &pb.AggregationQuery_Aggregation{Operator: &pb.AggregationQuery_Aggregation_Count_{}}
	sum := &pb.AggregationQuery_Aggregation{Operator: &pb.AggregationQuery_Aggregation_Sum_{
		Sum: &pb.AggregationQuery_Aggregation_Sum{Property: &pb.PropertyReference{Name: "n"}}}}
	for name, c := range map[string]struct {
		filter *pb.Filter
		what   *pb.AggregationQuery_Aggregation
	}{
		"count/100000": {nil, count}, "count/50000": {group, count}, "sum/100000": {nil, sum}, "sum/50000": {group, sum},
	} {
		b.Run(name, func(b *testing.B) {
			l := many(b, 0)
			for b.Loop() {
				if _, err := l.RunAggregationQuery(b.Context(), &pb.RunAggregationQueryRequest{ProjectId: "p",
					QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
						QueryType:    &pb.AggregationQuery_NestedQuery{NestedQuery: &pb.Query{Kind: []*pb.KindExpression{{Name: "E"}}, Filter: c.filter}},
						Aggregations: []*pb.AggregationQuery_Aggregation{c.what}}}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReserved(b *testing.B) {
	for _, kind := range []string{"__namespace__", "__kind__", "__property__"} {
		b.Run(kind, func(b *testing.B) {
			l := many(b, 0)
			for b.Loop() {
				if _, err := l.run(b, "", &pb.Query{Kind: []*pb.KindExpression{{Name: kind}}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("statistics", func(b *testing.B) {
		l := many(b, 0)
		for b.Loop() {
			for _, db := range l.store.All() {
				l.statistics.of(db.ID).Forget()
			}
			if _, err := l.run(b, "", &pb.Query{Kind: []*pb.KindExpression{{Name: "__Stat_Total__"}}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNearest(b *testing.B) {
	const dimensions = 128
	l := many(b, dimensions)
	q := &pb.Query{Kind: []*pb.KindExpression{{Name: "E"}}, FindNearest: &pb.FindNearest{
		VectorProperty: &pb.PropertyReference{Name: "v"}, QueryVector: vectorValue(make([]float64, dimensions)...),
		DistanceMeasure: pb.FindNearest_EUCLIDEAN, Limit: wrapperspb.Int32(10)}}
	for b.Loop() {
		if _, err := l.run(b, "", q); err != nil {
			b.Fatal(err)
		}
	}
}
