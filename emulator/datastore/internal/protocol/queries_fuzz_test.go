package protocol

import (
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// FuzzQueries: whatever queries and aggregations decode are answered, never with
// Internal or Unknown, explained or not, over kinds that are stored, derived or
// computed.
func FuzzQueries(f *testing.F) {
	kind := func(name string) []*pb.KindExpression { return []*pb.KindExpression{{Name: name}} }
	property := &pb.PropertyReference{Name: "n"}
	near := &pb.FindNearest{VectorProperty: &pb.PropertyReference{Name: "v"}, QueryVector: vectorValue(1, 0),
		DistanceMeasure: pb.FindNearest_COSINE, Limit: wrapperspb.Int32(3), DistanceResultProperty: "d"}
	key := &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: &pb.Key{Path: []*pb.Key_PathElement{
		{Kind: "__kind__", IdType: &pb.Key_PathElement_Name{Name: "A"}}}}}}
	ancestor := &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
		Property: &pb.PropertyReference{Name: "__key__"}, Op: pb.PropertyFilter_HAS_ANCESTOR, Value: key}}}
	equal := &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
		Property: property, Op: pb.PropertyFilter_EQUAL, Value: integerValue(1)}}}
	sum := &pb.AggregationQuery_Aggregation{Operator: &pb.AggregationQuery_Aggregation_Sum_{Sum: &pb.AggregationQuery_Aggregation_Sum{Property: property}}}
	count := &pb.AggregationQuery_Aggregation{Operator: &pb.AggregationQuery_Aggregation_Count_{Count: &pb.AggregationQuery_Aggregation_Count{UpTo: wrapperspb.Int64(2)}}}
	for _, q := range []*pb.Query{
		{Kind: kind("A"), FindNearest: near},
		{Kind: kind("A"), Filter: equal},
		{Kind: kind("A"), Projection: []*pb.Projection{{Property: property}}},
		{Kind: kind("__kind__")},
		{Kind: kind("__namespace__"), Limit: wrapperspb.Int32(1)},
		{Kind: kind("__property__"), Filter: ancestor},
		{Kind: kind("__Stat_Kind__"), Order: []*pb.PropertyOrder{{Property: &pb.PropertyReference{Name: "bytes"}, Direction: 2}}},
		{Offset: 1, Limit: wrapperspb.Int32(2)},
	} {
		query, err := proto.Marshal(&pb.RunQueryRequest{ProjectId: "p", QueryType: &pb.RunQueryRequest_Query{Query: q}, ExplainOptions: &pb.ExplainOptions{Analyze: q.GetOffset() > 0}})
		if err != nil {
			f.Fatal(err)
		}
		aggregation, err := proto.Marshal(&pb.RunAggregationQueryRequest{ProjectId: "p", QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{
			AggregationQuery: &pb.AggregationQuery{QueryType: &pb.AggregationQuery_NestedQuery{NestedQuery: q}, Aggregations: []*pb.AggregationQuery_Aggregation{sum, count}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(query, aggregation)
	}
	l := newLibrary(f)
	list := &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: []*pb.Value{integerValue(1), doubleValue(0.5), nullValue}}}}
	l.put(f, "",
		entityOf("A", 1, map[string]*pb.Value{"n": integerValue(1), "v": vectorValue(1, 0)}),
		entityOf("A", 2, map[string]*pb.Value{"n": list, "v": vectorValue(0, 1)}),
		entityOf("B", 1, map[string]*pb.Value{"n": doubleValue(2)}))
	f.Fuzz(func(t *testing.T, queryWire, aggregationWire []byte) {
		check := func(err error) bool {
			if c := status.Code(err); c == codes.Internal || c == codes.Unknown {
				t.Fatal(err)
			}
			return err == nil
		}
		var q pb.RunQueryRequest
		if proto.Unmarshal(queryWire, &q) == nil {
			resp, err := l.RunQuery(t.Context(), &q)
			if check(err) {
				if _, err := proto.Marshal(resp); err != nil {
					t.Fatal(err)
				}
			}
		}
		var a pb.RunAggregationQueryRequest
		if proto.Unmarshal(aggregationWire, &a) == nil {
			resp, err := l.RunAggregationQuery(t.Context(), &a)
			if check(err) && len(resp.GetBatch().GetAggregationResults()) != 1 && !planOnly(a.GetExplainOptions()) {
				t.Fatalf("answered %v", resp)
			}
		}
	})
}
