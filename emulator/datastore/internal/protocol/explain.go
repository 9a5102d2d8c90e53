package protocol

import (
	"strconv"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// explainedBatch is how many results a batch has at most when a query is
// analyzed. The statistics are of one request, so the request is to be the
// whole query, as far as an answer holds it: a result takes more than 64 bytes.
const explainedBatch = maxAnswer / 64

// planOnly reports whether a query is to be explained without being run.
func planOnly(o *pb.ExplainOptions) bool { return o != nil && !o.GetAnalyze() }

// entriesPerRead is how many index entries of an aggregation production bills
// as one read.
const entriesPerRead = 1000

// execution is what explaining tells of a run.
type execution struct {
	planning.Scan
	results   int
	documents int // billed: what queries of whole entities returned and skipped
	billed    int // index entries of an aggregation
	duration  time.Duration
}

// explain says which indexes were used and, if there was a run, what it went
// through. Names and values are those that Google's Go client expects of
// production: counts are strings.
func explain(indexes []planning.UsedIndex, run *execution) *pb.ExplainMetrics {
	summary := &pb.PlanSummary{}
	for _, index := range indexes {
		summary.IndexesUsed = append(summary.IndexesUsed, textStruct(
			"query_scope", index.QueryScope, "properties", index.Properties))
	}
	metrics := &pb.ExplainMetrics{PlanSummary: summary}
	if run == nil {
		return metrics
	}
	reads := run.documents + (run.billed+entriesPerRead-1)/entriesPerRead
	least := 0
	if reads == 0 {
		reads, least = 1, 1
	}
	stats := textStruct(
		"index_entries_scanned", strconv.Itoa(run.IndexEntries),
		"documents_scanned", strconv.Itoa(max(run.Entities, run.documents)))
	stats.Fields["billing_details"] = structpb.NewStructValue(textStruct(
		"documents_billable", strconv.Itoa(run.documents),
		"index_entries_billable", strconv.Itoa(run.billed),
		"min_query_cost", strconv.Itoa(least)))
	metrics.ExecutionStats = &pb.ExecutionStats{
		ResultsReturned:   int64(run.results),
		ExecutionDuration: durationpb.New(run.duration),
		ReadOperations:    int64(reads),
		DebugStats:        stats,
	}
	return metrics
}

// textStruct is a Struct of names and texts in turn.
func textStruct(pairs ...string) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for i := 0; i < len(pairs); i += 2 {
		s.Fields[pairs[i]] = structpb.NewStringValue(pairs[i+1])
	}
	return s
}

// execution sums up a run of q.
func (q *query) execution(f *found, duration time.Duration) *execution {
	e := &execution{Scan: f.Scan, results: len(f.Hits) + len(f.neighbors), duration: duration}
	if q.ResultType() == pb.EntityResult_FULL {
		e.documents = e.results + f.Skipped
	}
	return e
}
