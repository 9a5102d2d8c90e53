package protocol

import (
	"context"
	"fmt"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
)

// maxAggregations bounds the aggregations of one query.
const maxAggregations = 5

// RunAggregationQuery implements the RPC, for COUNT.
func (s *Service) RunAggregationQuery(ctx context.Context, req *pb.RunAggregationQueryRequest) (*pb.RunAggregationQueryResponse, error) {
	d, err := s.openQuery(req)
	if err != nil {
		return nil, err
	}
	counts, err := parseAggregations(req.GetAggregationQuery().GetAggregations())
	if err != nil {
		return nil, err
	}
	q, err := d.parseQuery(req.GetPartitionId(), req.GetAggregationQuery().GetNestedQuery())
	if err != nil {
		return nil, err
	}
	// One count serves all: as far as the one that goes furthest.
	upTo := counts[0].upTo
	for _, c := range counts {
		if c.upTo < 0 || upTo >= 0 && c.upTo > upTo {
			upTo = c.upTo
		}
	}
	n := 0
	r, err := d.read(ctx, req.GetReadOptions(), func(v storage.View) transactions.Footprint {
		var scan planning.Scan
		n, scan = q.Count(v, upTo)
		return transactions.Footprint{Ranges: footprint(scan)}
	})
	if err != nil {
		return nil, d.toStatus(err)
	}
	values := make(map[string]*pb.Value, len(counts))
	for _, c := range counts {
		m := n
		if c.upTo >= 0 {
			m = min(m, c.upTo)
		}
		values[c.alias] = &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(m)}}
	}
	return &pb.RunAggregationQueryResponse{
		Transaction: r.transaction,
		Batch: &pb.AggregationResultBatch{
			AggregationResults: []*pb.AggregationResult{{AggregateProperties: values}},
			MoreResults:        pb.QueryResultBatch_NO_MORE_RESULTS,
			ReadTime:           r.timestamp(),
		},
	}, nil
}

// count is one COUNT aggregation.
type count struct {
	alias string
	upTo  int // -1: no bound
}

func parseAggregations(all []*pb.AggregationQuery_Aggregation) ([]count, error) {
	if len(all) == 0 {
		return nil, invalid("Aggregations can not be empty.")
	}
	if len(all) > maxAggregations {
		return nil, invalid("The maximum number of aggregations allowed in an aggregation query is %d. Received: %d", maxAggregations, len(all))
	}
	var counts []count
	taken := map[string]bool{}
	unnamed := 0
	for _, a := range all {
		c := count{alias: a.GetAlias(), upTo: -1}
		if c.alias == "" {
			unnamed++
			c.alias = fmt.Sprintf("property_%d", unnamed)
		} else if err := checkName("The property.name", c.alias); err != nil {
			return nil, err
		}
		if taken[c.alias] {
			return nil, invalid("Aggregation aliases contain duplicate alias: %s.", c.alias)
		}
		taken[c.alias] = true
		switch op := a.GetOperator().(type) {
		case *pb.AggregationQuery_Aggregation_Count_:
			if u := op.Count.GetUpTo(); u != nil {
				if u.GetValue() <= 0 {
					return nil, invalid("up_to must be greater than zero: %d", u.GetValue())
				}
				c.upTo = int(u.GetValue())
			}
		case *pb.AggregationQuery_Aggregation_Sum_:
			return nil, unimplemented("the aggregation SUM is")
		case *pb.AggregationQuery_Aggregation_Avg_:
			return nil, unimplemented("the aggregation AVG is")
		default:
			return nil, invalid("an aggregation must specify an operator")
		}
		counts = append(counts, c)
	}
	return counts, nil
}
