package protocol

import (
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
)

// queryRequest is what the requests of RunQuery and RunAggregationQuery have in
// common.
type queryRequest interface {
	GetProjectId() string
	GetDatabaseId() string
	GetPartitionId() *pb.PartitionId
	GetReadOptions() *pb.ReadOptions
	GetGqlQuery() *pb.GqlQuery
	GetExplainOptions() *pb.ExplainOptions
}

// openQuery checks what both requests begin with and returns their database.
func (s *Service) openQuery(req queryRequest) (database, error) {
	return s.open(req.GetProjectId(), req.GetDatabaseId())
}

// query is a checked query. What is planned is all but its last stage.
type query struct {
	*planning.Query
	asked   *pb.Query
	over    overlay  // nil: the stored state
	nearest *nearest // nil: not asked for
}

// parseQuery checks a query of a request.
func (d database) parseQuery(req queryRequest, asked *pb.Query) (*query, error) {
	if asked == nil {
		return nil, invalid("one of fields Query.query and Query.gql_query must be set")
	}
	id, err := d.adopt(req.GetPartitionId(), false)
	if err != nil {
		return nil, err
	}
	q := &query{asked: asked}
	if q.over, err = d.overlay(id, asked, inTransaction(req.GetReadOptions())); err != nil {
		return nil, err
	}
	nearest, planned, err := parseNearest(asked)
	if err != nil {
		return nil, err
	}
	q.nearest = nearest
	q.Query, err = planning.Parse(id, planned, d.readKey, d.keyValue)
	if err == nil && d.indexes != nil && q.over == nil {
		err = q.Demand(d.indexes)
	}
	return q, d.toStatus(err)
}

func inTransaction(o *pb.ReadOptions) bool {
	switch o.GetConsistencyType().(type) {
	case *pb.ReadOptions_Transaction, *pb.ReadOptions_NewTransaction:
		return true
	}
	return false
}

// ResultType is what the results hold.
func (q *query) ResultType() pb.EntityResult_ResultType {
	if q.nearest != nil && q.nearest.alone {
		return pb.EntityResult_PROJECTION
	}
	return q.Query.ResultType()
}

// found is what one run gave: a batch, or all neighbors.
type found struct {
	planning.Result
	neighbors []neighbor
	version   int64
	err       error
}

// run runs q for one answer with at most maxHits results.
func (q *query) run(v storage.View, maxHits int) (found, transactions.Footprint) {
	f := found{version: v.Version}
	if q.over != nil {
		over, ranges, err := q.over(v)
		if err != nil {
			f.err = err
			return f, transactions.Footprint{}
		}
		f.Result = q.Run(over, maxHits, maxAnswer)
		return f, transactions.Footprint{Ranges: ranges}
	}
	if q.nearest != nil {
		var fp transactions.Footprint
		f.neighbors, f.Scan, fp = q.nearest.search(q.Query, v)
		return f, fp
	}
	maxBytes := maxAnswer
	if q.ResultType() != pb.EntityResult_FULL {
		maxBytes = math.MaxInt // the answer holds little of the entities
	}
	f.Result = q.Run(v, maxHits, maxBytes)
	fp := transactions.Footprint{Keys: make([]string, 0, len(f.Hits)), Ranges: footprint(f.Scan)}
	for _, h := range f.Hits {
		fp.Keys = append(fp.Keys, h.Entity.Key())
	}
	return f, fp
}

// plan finds out what a run would do. It ends before the second result.
func (q *query) plan(v storage.View) found {
	var f found
	if q.over != nil {
		v, _, f.err = q.over(v)
	}
	if f.err == nil {
		f.Indexes = q.Run(v, 1, maxAnswer).Indexes
	}
	return f
}

// each calls f with all results, whatever batches they would come in.
func (q *query) each(v storage.View, f func(planning.Hit)) (planning.Scan, transactions.Footprint) {
	if q.nearest != nil {
		neighbors, scan, fp := q.nearest.search(q.Query, v)
		for _, n := range neighbors {
			f(n.Hit)
		}
		return scan, fp
	}
	scan := q.Each(v, func(h planning.Hit) bool {
		f(h)
		return true
	})
	return scan, transactions.Footprint{Ranges: footprint(scan)}
}

// batch renders what a run gave into as many bytes as an answer has room for. A
// single result may take more; too many neighbors are an error.
func (q *query) batch(f *found, mask *mask, room int) (*pb.QueryResultBatch, error) {
	if f.err != nil {
		return nil, f.err
	}
	if q.nearest != nil {
		return q.nearestBatch(f.neighbors, mask, room)
	}
	return queryBatch(q.Query, q.asked, &f.Result, mask, room)
}

// footprint is what a scan means to transactions.
func footprint(s planning.Scan) []transactions.Range {
	ranges := make([]transactions.Range, len(s.Ranges))
	for i, r := range s.Ranges {
		ranges[i] = transactions.Range(r)
	}
	return ranges
}
