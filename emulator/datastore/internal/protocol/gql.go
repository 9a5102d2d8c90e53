package protocol

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/gql"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// askedQuery returns the query of a request. If it is in GQL, the answer tells
// what was read: parsed, which is nil otherwise.
func (d database) askedQuery(req *pb.RunQueryRequest) (asked, parsed *pb.Query, err error) {
	if req.GetGqlQuery() == nil {
		return req.GetQuery(), nil, nil
	}
	asked, err = readGQL(d, req, gql.ParseQuery)
	return asked, proto.CloneOf(asked), err // checks fill in what a query leaves open
}

// askedAggregation is askedQuery for aggregation queries.
func (d database) askedAggregation(req *pb.RunAggregationQueryRequest) (asked, parsed *pb.AggregationQuery, err error) {
	if req.GetGqlQuery() == nil {
		return req.GetAggregationQuery(), nil, nil
	}
	asked, err = readGQL(d, req, gql.ParseAggregation)
	return asked, proto.CloneOf(asked), err
}

// readGQL reads the GQL of a request of either kind.
func readGQL[Q any](d database, req queryRequest, parse func(*pb.GqlQuery, *pb.PartitionId) (*Q, error)) (*Q, error) {
	id, err := d.adopt(req.GetPartitionId(), false)
	if err != nil {
		return nil, err
	}
	q, err := parse(req.GetGqlQuery(), id)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return q, nil
}
