package protocol

import (
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"google.golang.org/protobuf/testing/protocmp"
)

// TestExplainCompositeIndexes: what Google's Go client expects production to
// answer for its test data.
func TestExplainCompositeIndexes(t *testing.T) {
	l := newLibrary(t)
	l.store.SetIndexes(indexes.NewSet(indexes.Definition{Kind: "SQChild", Ancestor: true,
		Properties: []indexes.Property{{Name: "T"}, {Name: "I"}}}))
	parent := &pb.Key_PathElement{Kind: "SQParent", IdType: &pb.Key_PathElement_Name{Name: "p"}}
	for i := range int64(3) {
		e := entityOf("SQChild", i+1, map[string]*pb.Value{"T": integerValue(7), "I": integerValue(i + 1), "V": doubleValue(1.5)})
		e.Key.Path = []*pb.Key_PathElement{parent, e.Key.Path[0]}
		l.put(t, "", e)
	}
	filter := func(name string, op pb.PropertyFilter_Operator, v *pb.Value) *pb.Filter {
		return &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
			Property: &pb.PropertyReference{Name: name}, Op: op, Value: v}}}
	}
	query := func() *pb.Query {
		return &pb.Query{Kind: []*pb.KindExpression{{Name: "SQChild"}},
			Filter: &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: &pb.CompositeFilter{Op: pb.CompositeFilter_AND, Filters: []*pb.Filter{
				filter("__key__", pb.PropertyFilter_HAS_ANCESTOR, &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: &pb.Key{Path: []*pb.Key_PathElement{parent}}}}),
				filter("T", pb.PropertyFilter_EQUAL, integerValue(7)),
			}}}}}
	}
	explained := func(analyze bool, results, reads int64, documents string) *pb.ExplainMetrics {
		m := &pb.ExplainMetrics{PlanSummary: &pb.PlanSummary{}}
		m.PlanSummary.IndexesUsed = append(m.PlanSummary.IndexesUsed,
			textStruct("query_scope", "Includes ancestors", "properties", "(T ASC, I ASC, __name__ ASC)"))
		if analyze {
			m.ExecutionStats = &pb.ExecutionStats{ResultsReturned: results, ReadOperations: reads,
				DebugStats: textStruct("index_entries_scanned", "3", "documents_scanned", documents)}
		}
		return m
	}
	ignore := []cmp.Option{protocmp.Transform(), protocmp.IgnoreFields(&pb.ExecutionStats{}, "execution_duration")}
	check := func(what string, got, want *pb.ExplainMetrics) {
		if stats := got.GetExecutionStats().GetDebugStats(); stats != nil {
			delete(stats.Fields, "billing_details")
		}
		if diff := cmp.Diff(want, got, ignore...); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for _, analyze := range []bool{false, true} {
		options := &pb.ExplainOptions{Analyze: analyze}
		ordered := query()
		ordered.Order = []*pb.PropertyOrder{{Property: &pb.PropertyReference{Name: "I"}}}
		resp, err := l.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: "p", ExplainOptions: options,
			QueryType: &pb.RunQueryRequest_Query{Query: ordered}})
		if err != nil {
			t.Fatal(err)
		}
		check("query", resp.GetExplainMetrics(), explained(analyze, 3, 3, "3"))
		property := &pb.PropertyReference{Name: "I"}
		sums, err := l.RunAggregationQuery(t.Context(), &pb.RunAggregationQueryRequest{ProjectId: "p", ExplainOptions: options,
			QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
				QueryType: &pb.AggregationQuery_NestedQuery{NestedQuery: query()},
				Aggregations: []*pb.AggregationQuery_Aggregation{
					{Operator: &pb.AggregationQuery_Aggregation_Sum_{Sum: &pb.AggregationQuery_Aggregation_Sum{Property: property}}},
					{Operator: &pb.AggregationQuery_Aggregation_Avg_{Avg: &pb.AggregationQuery_Aggregation_Avg{Property: property}}},
					{Operator: &pb.AggregationQuery_Aggregation_Count_{Count: &pb.AggregationQuery_Aggregation_Count{}}},
				}}}})
		if err != nil {
			t.Fatal(err)
		}
		check("aggregation", sums.GetExplainMetrics(), explained(analyze, 1, 1, "0"))
	}
}
