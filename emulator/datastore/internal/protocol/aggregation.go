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
	"google.golang.org/protobuf/proto"
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
}

// term is a property that is summed up.
type term struct {
	name string

	// A property with an equality filter can't be projected. Its value is then
	// the first of those that the filter names which the entity has, or else
	// (the filter is one side of an OR) its first value.
	filtered bool
	prefix   string   // of its rows
	equal    []string // index values of the filter, in order
}

// parseAggregation checks a query and its aggregates.
func (d database) parseAggregation(req queryRequest, asked *pb.AggregationQuery) (*aggregation, error) {
	var a aggregation
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

// project adds the properties that are summed up to what the query projects.
func (a *aggregation) project(project string, base *pb.Query) (*pb.Query, error) {
	for _, g := range a.aggregates {
		known := slices.ContainsFunc(a.terms, func(t term) bool { return t.name == g.property })
		if g.property != "" && !known {
			a.terms = append(a.terms, term{name: g.property})
		}
	}
	if len(a.terms) == 0 {
		return base, nil
	}
	var projected []string
	for _, p := range base.GetProjection() {
		if name := p.GetProperty().GetName(); name != "__key__" {
			projected = append(projected, name)
		}
	}
	if len(base.GetProjection()) > 0 && len(projected) == 0 {
		return nil, invalid("Aggregation over non-key properties is not supported for base query that only returns keys.")
	}
	if len(projected) > 0 {
		for _, t := range a.terms {
			if !slices.Contains(projected, t.name) {
				return nil, invalid("The aggregation property %s is not present in the base query's projection.", t.name)
			}
		}
		return base, nil
	}
	base = proto.CloneOf(base)
	for i := range a.terms {
		t := &a.terms[i]
		if t.equal, t.filtered = equalities(base.GetFilter(), t.name, project); !t.filtered {
			base.Projection = append(base.Projection, &pb.Projection{Property: &pb.PropertyReference{Name: t.name}})
		}
	}
	return base, nil
}

// equalities collects the values that a filter compares the property with for
// equality, in index form and order.
func equalities(f *pb.Filter, property, project string) (values []string, found bool) {
	add := func(v *pb.Value) {
		if b, ok := encoding.AppendValue(nil, v, project); ok {
			values = append(values, string(b))
		}
	}
	_ = eachFilter(f, func(f *pb.Filter) error {
		p := f.GetPropertyFilter()
		if p.GetProperty().GetName() != property {
			return nil
		}
		switch p.GetOp() {
		case pb.PropertyFilter_EQUAL:
			found = true
			add(p.GetValue())
		case pb.PropertyFilter_IN:
			found = true
			for _, v := range p.GetValue().GetArrayValue().GetValues() {
				add(v)
			}
		}
		return nil
	})
	slices.Sort(values)
	return slices.Compact(values), found
}

// value is what a hit has for the term, in index form; ok is false if it has
// nothing.
func (a *aggregation) value(t *term, h planning.Hit) (value string, ok bool) {
	if !t.filtered {
		return a.base.Value(h, t.name), true
	}
	for _, v := range t.equal {
		at := t.prefix + v
		if _, ok := h.Entity.First(at, encoding.PrefixEnd(at)); ok {
			return v, true
		}
	}
	row, ok := h.Entity.First(t.prefix, encoding.PrefixEnd(t.prefix))
	if !ok {
		return "", false
	}
	_, rest, err := encoding.CutValue(row[len(t.prefix):])
	return row[len(t.prefix) : len(row)-len(rest)], err == nil
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
		values := make([]string, len(a.terms))
		var looked []string // entities whose values the ranges may not cover
		scan, fp = a.base.each(view, func(h planning.Hit) {
			for i := range a.terms {
				if a.terms[i].filtered {
					looked = append(looked, h.Entity.Key())
				}
				var ok bool
				if values[i], ok = a.value(&a.terms[i], h); !ok {
					return
				}
			}
			n++
			for i, v := range values {
				tallies[i].add(v)
			}
		})
		fp.Keys = append(fp.Keys, looked...)
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
