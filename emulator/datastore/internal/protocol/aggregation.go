package protocol

import (
	"context"
	"slices"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
)

// RunAggregationQuery implements the RPC.
//
// Production scans an index that holds the properties that are summed up, so
// the base query behaves as if it projected them: entities without them in the
// index don't count, for COUNT either, a list counts once for each of its
// values, and a limit takes what comes first in the order of their values.
func (s *Service) RunAggregationQuery(ctx context.Context, req *pb.RunAggregationQueryRequest) (*pb.RunAggregationQueryResponse, error) {
	d, err := s.openQuery(req)
	if err != nil {
		return nil, err
	}
	asked, parsed, err := d.askedAggregation(req)
	if err != nil {
		return nil, err
	}
	if asked == nil {
		return nil, invalid("one of fields aggregation_query and gql_query must be set")
	}
	a, err := d.parseAggregation(req, asked)
	if err != nil {
		return nil, err
	}
	options := req.GetExplainOptions()
	began := time.Now()
	var results map[string]*pb.Value
	var scan planning.Scan
	r, err := d.read(ctx, req.GetReadOptions(), func(v storage.View) (fp transactions.Footprint) {
		if planOnly(options) {
			scan = a.base.plan(v).Scan
			return transactions.Footprint{}
		}
		results, scan, fp = a.run(v)
		return fp
	})
	if err != nil {
		return nil, d.toStatus(err)
	}
	resp := &pb.RunAggregationQueryResponse{Query: parsed, Transaction: r.transaction}
	if planOnly(options) {
		resp.ExplainMetrics = explain(scan.Indexes, nil)
		return resp, nil
	}
	resp.Batch = &pb.AggregationResultBatch{
		AggregationResults: []*pb.AggregationResult{{AggregateProperties: results}},
		MoreResults:        pb.QueryResultBatch_NO_MORE_RESULTS,
		ReadTime:           r.timestamp(),
	}
	if options != nil {
		resp.ExplainMetrics = explain(scan.Indexes,
			&execution{Scan: scan, results: 1, billed: scan.IndexEntries, duration: time.Since(began)})
	}
	return resp, nil
}

// aggregation is an aggregation query, checked.
type aggregation struct {
	base       *query
	aggregates []aggregate
	terms      []term
	window     window // of the results, where the base leaves it to us
	allKinds   bool   // properties of all kinds are summed up
	byKey      bool   // and they come in the order of keys, not of the values
}

// parseAggregation checks a query and its aggregates.
func (d database) parseAggregation(req queryRequest, asked *pb.AggregationQuery) (*aggregation, error) {
	a := aggregation{window: window{limit: -1}}
	var err error
	if a.aggregates, err = parseAggregates(asked.GetAggregations()); err != nil {
		return nil, err
	}
	base := asked.GetNestedQuery()
	if base == nil {
		base = &pb.Query{}
	}
	if kinds := base.GetKind(); len(kinds) == 1 && reserved.MatchString(kinds[0].GetName()) {
		return nil, invalid("Aggregation queries on reserved kinds are not supported.")
	}
	if base, err = a.project(d.project, base); err != nil {
		return nil, err
	}
	if a.base, err = d.parseQuery(req, base); err != nil {
		return nil, err
	}
	for i := range a.terms {
		if t := &a.terms[i]; t.filtered {
			t.prefix = encoding.PropertyPrefix(req.GetPartitionId().GetNamespaceId(), base.GetKind()[0].GetName(), t.name)
		}
	}
	return &a, nil
}

// run computes all aggregates in one scan.
func (a *aggregation) run(view storage.View) (map[string]*pb.Value, planning.Scan, transactions.Footprint) {
	var n int
	var scan planning.Scan
	var fp transactions.Footprint
	tallies := make([]tally, len(a.terms))
	if len(a.terms) == 0 && a.base.nearest == nil {
		n, scan = a.base.Count(view, a.upTo())
		fp.Ranges = footprint(scan)
	} else {
		scan, fp = a.rows(view, func(values []string) {
			n++
			for i, v := range values {
				tallies[i].add(v)
			}
		})
	}
	results := make(map[string]*pb.Value, len(a.aggregates))
	for _, g := range a.aggregates {
		t := slices.IndexFunc(a.terms, func(t term) bool { return t.name == g.property })
		switch g.operator {
		case operatorCount:
			m := n
			if g.upTo >= 0 {
				m = min(m, g.upTo)
			}
			results[g.alias] = integerValue(int64(m))
		case operatorSum:
			results[g.alias] = tallies[t].sum()
		case operatorAverage:
			results[g.alias] = tallies[t].average()
		}
	}
	return results, scan, fp
}

// upTo is how far one count must go to serve all; -1: to the end.
func (a *aggregation) upTo() int {
	upTo := 0
	for _, g := range a.aggregates {
		if g.upTo < 0 {
			return -1
		}
		upTo = max(upTo, g.upTo)
	}
	return upTo
}
