package datastore_test

import (
	"strconv"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestExplain: without analyze nothing but the plan is answered; with it, the
// results and what they cost, once, with the last of them.
func TestExplain(t *testing.T) {
	c := start(t, nil).client()
	ctx := t.Context()
	const n = 400 // more than a batch
	keys, all := make([]*ds.Key, n), make([]counter, n)
	for i := range keys {
		keys[i], all[i].N = ds.IDKey("E", int64(i+1), nil), i%2
	}
	if _, err := c.PutMulti(ctx, keys, all); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		q              *ds.Query
		results, reads int64
		documents      string
	}{
		"all":        {ds.NewQuery("E"), n, n, strconv.Itoa(n)},
		"filtered":   {ds.NewQuery("E").FilterField("N", "=", 1), n / 2, n / 2, strconv.Itoa(n / 2)},
		"offset":     {ds.NewQuery("E").Offset(100).Limit(5), 5, 105, "105"},
		"keys only":  {ds.NewQuery("E").KeysOnly(), n, 1, "0"},
		"projection": {ds.NewQuery("E").Project("N"), n, 1, "0"},
		"nothing":    {ds.NewQuery("Nothing"), 0, 1, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			var none, got []counter
			planned, err := c.GetAllWithOptions(ctx, want.q, &none, ds.ExplainOptions{})
			if err != nil || len(none) > 0 || len(planned.Keys) > 0 {
				t.Errorf("planned: %d results, %v; want none", len(none), err)
			}
			if m := planned.ExplainMetrics; m == nil || m.PlanSummary == nil || m.ExecutionStats != nil {
				t.Errorf("planned: metrics %+v; want a plan alone", m)
			}
			run, err := c.GetAllWithOptions(ctx, want.q, &got, ds.ExplainOptions{Analyze: true})
			if err != nil || len(run.Keys) != int(want.results) {
				t.Fatalf("%d results, %v; want %d", len(run.Keys), err, want.results)
			}
			stats := run.ExplainMetrics.ExecutionStats
			if stats.ResultsReturned != want.results || stats.ReadOperations != want.reads {
				t.Errorf("%d results, %d reads; want %d, %d", stats.ResultsReturned, stats.ReadOperations, want.results, want.reads)
			}
			if got := (*stats.DebugStats)["documents_scanned"]; got != want.documents {
				t.Errorf("%v documents scanned; want %s", got, want.documents)
			}
			if _, ok := (*stats.DebugStats)["billing_details"].(map[string]any)["min_query_cost"].(string); !ok {
				t.Errorf("no billing details in %v", *stats.DebugStats)
			}
		})
	}

	sum := ds.NewQuery("E").NewAggregationQuery().WithSum("N", "sum").WithCount("count")
	planned, err := c.RunAggregationQueryWithOptions(ctx, sum, ds.ExplainOptions{})
	if err != nil || len(planned.Result) > 0 || planned.ExplainMetrics.ExecutionStats != nil {
		t.Errorf("planned aggregation: %+v, %v", planned, err)
	}
	run, err := c.RunAggregationQueryWithOptions(ctx, sum, ds.ExplainOptions{Analyze: true})
	if err != nil {
		t.Fatal(err)
	}
	stats := run.ExplainMetrics.ExecutionStats
	if run.Result["sum"].(*pb.Value).GetIntegerValue() != n/2 || stats.ResultsReturned != 1 || stats.ReadOperations != 1 {
		t.Errorf("aggregation: %+v, %+v", run.Result, stats)
	}
	if got := (*stats.DebugStats)["index_entries_scanned"]; got != strconv.Itoa(n) {
		t.Errorf("%v index entries scanned; want %d", got, n)
	}
}

// TestExplainInBatches: what doesn't fit one answer comes with statistics at its
// end only; and a plan alone locks nothing.
func TestExplainInBatches(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	for i := range 6 {
		a.mustCommit(nil, upsert(key("Big", strconv.Itoa(i)), "p", unindexed(1_000_000)))
	}
	req := &pb.RunQueryRequest{ProjectId: project, ExplainOptions: &pb.ExplainOptions{Analyze: true},
		QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{Kind: []*pb.KindExpression{{Name: "Big"}}, Limit: wrapperspb.Int32(6)}}}
	first, err := a.RunQuery(t.Context(), req)
	if err != nil || first.GetBatch().GetMoreResults() != pb.QueryResultBatch_NOT_FINISHED || first.GetExplainMetrics() != nil {
		t.Fatalf("first batch: %v, metrics %v, %v", first.GetBatch().GetMoreResults(), first.GetExplainMetrics(), err)
	}
	got := len(first.GetBatch().GetEntityResults())
	req.GetQuery().StartCursor = first.GetBatch().GetEndCursor()
	req.GetQuery().Limit = wrapperspb.Int32(int32(6 - got))
	last, err := a.RunQuery(t.Context(), req)
	if err != nil || last.GetExplainMetrics().GetExecutionStats().GetResultsReturned() != int64(6-got) {
		t.Fatalf("last batch: %v, %v", last.GetExplainMetrics(), err)
	}

	tx := a.begin(nil)
	req.ExplainOptions.Analyze = false
	req.ReadOptions = inTx(tx)
	if planned, err := a.RunQuery(t.Context(), req); err != nil || planned.GetBatch() != nil {
		t.Fatalf("planned in a transaction: %v, %v", planned, err)
	}
	a.mustCommit(nil, put("Big", "new", 1))
	a.rollback(tx)
}
