package protocol

import (
	"fmt"
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// maxAggregations bounds the aggregations of one query.
const maxAggregations = 5

// aggregate is one of a query's aggregations.
type aggregate struct {
	alias    string
	operator operator
	upTo     int    // of COUNT; -1: no bound
	property string // of SUM and AVG
}

type operator uint8

const (
	operatorCount operator = iota
	operatorSum
	operatorAverage
)

func parseAggregates(all []*pb.AggregationQuery_Aggregation) ([]aggregate, error) {
	if len(all) == 0 {
		return nil, invalid("Aggregations can not be empty.")
	}
	if len(all) > maxAggregations {
		return nil, invalid("The maximum number of aggregations allowed in an aggregation query is %d. Received: %d", maxAggregations, len(all))
	}
	var parsed []aggregate
	taken := map[string]bool{}
	unnamed := 0
	for _, m := range all {
		a, err := parseAggregate(m)
		if err != nil {
			return nil, err
		}
		if a.alias == "" {
			unnamed++
			a.alias = fmt.Sprintf("property_%d", unnamed)
		} else if err := checkName("The property.name", a.alias); err != nil {
			return nil, err
		}
		if taken[a.alias] {
			return nil, invalid("Aggregation aliases contain duplicate alias: %s.", a.alias)
		}
		taken[a.alias] = true
		parsed = append(parsed, a)
	}
	return parsed, nil
}

func parseAggregate(m *pb.AggregationQuery_Aggregation) (aggregate, error) {
	a := aggregate{alias: m.GetAlias(), upTo: -1}
	switch op := m.GetOperator().(type) {
	case *pb.AggregationQuery_Aggregation_Count_:
		if u := op.Count.GetUpTo(); u != nil {
			if u.GetValue() < 0 {
				return a, invalid("The `up_to` value in a COUNT aggregation must be greater than or equal to zero.")
			}
			a.upTo = int(min(u.GetValue(), math.MaxInt32))
		}
		return a, nil
	case *pb.AggregationQuery_Aggregation_Sum_:
		a.operator, a.property = operatorSum, op.Sum.GetProperty().GetName()
	case *pb.AggregationQuery_Aggregation_Avg_:
		a.operator, a.property = operatorAverage, op.Avg.GetProperty().GetName()
	default:
		return a, invalid("Operator field in Aggregation is not set.")
	}
	switch {
	case a.property == "":
		return a, invalid("Empty aggregation field.")
	case reserved.MatchString(a.property):
		return a, invalid("Aggregations are not supported for the property: %s", a.property)
	}
	return a, nil
}
