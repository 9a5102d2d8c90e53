package protocol

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
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
	d, err := s.open(req.GetProjectId(), req.GetDatabaseId())
	if err != nil {
		return d, err
	}
	if req.GetGqlQuery() != nil {
		return d, unimplemented("GQL queries are")
	}
	if req.GetExplainOptions() != nil {
		return d, unimplemented("explain_options are")
	}
	return d, nil
}

// parseQuery checks a query of the partition and brings it into normal form.
func (d database) parseQuery(id *pb.PartitionId, q *pb.Query) (*planning.Query, error) {
	if q == nil {
		return nil, invalid("one of fields Query.query and Query.gql_query must be set")
	}
	id, err := d.adopt(id)
	if err != nil {
		return nil, err
	}
	parsed, err := planning.Parse(id, q, d.completeKey)
	return parsed, d.toStatus(err)
}
