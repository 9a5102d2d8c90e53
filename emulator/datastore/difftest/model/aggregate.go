package model

import (
	"fmt"
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Aggregate answers an aggregation. What it adds up counts as projected: an
// entity without one of the properties is left out, and one with several values
// counts once for each combination.
func Aggregate(partition *pb.PartitionId, q *pb.Query, all []*pb.AggregationQuery_Aggregation, entities []*pb.Entity, quirks Quirks) map[string]*pb.Value {
	q = proto.Clone(q).(*pb.Query)
	for _, a := range all {
		if name := aggregated(a); name != "" {
			q.Projection = append(q.Projection, &pb.Projection{Property: &pb.PropertyReference{Name: name}})
		}
	}
	m := Parse(partition, q, quirks)
	rows := m.Run(entities, nil, nil).Rows
	results := map[string]*pb.Value{}
	unnamed := 0
	for _, a := range all {
		alias := a.GetAlias()
		if alias == "" {
			unnamed++
			alias = fmt.Sprintf("property_%d", unnamed)
		}
		switch op := a.GetOperator().(type) {
		case *pb.AggregationQuery_Aggregation_Count_:
			n := int64(len(rows))
			if u := op.Count.GetUpTo(); u != nil {
				n = min(n, u.GetValue())
			}
			results[alias] = &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: n}}
		default:
			results[alias] = m.total(rows, aggregated(a), a.GetAvg() != nil)
		}
	}
	return results
}

func aggregated(a *pb.AggregationQuery_Aggregation) string {
	return a.GetSum().GetProperty().GetName() + a.GetAvg().GetProperty().GetName()
}

// total is a sum, or a mean.
func (m *Query) total(rows []Row, name string, mean bool) *pb.Value {
	var whole int64
	var float float64
	n, exact := 0, true
	for _, row := range rows {
		switch t := m.value(row, name).GetValueType().(type) {
		case *pb.Value_IntegerValue:
			sum := whole + t.IntegerValue
			if (whole < 0) == (t.IntegerValue < 0) && (sum < 0) != (whole < 0) {
				exact = false
			}
			whole = sum
			float += float64(t.IntegerValue)
		case *pb.Value_DoubleValue:
			exact = false
			float += t.DoubleValue
		default:
			continue
		}
		n++
	}
	switch {
	case mean && n == 0:
		return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
	case mean:
		return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: float / float64(n)}}
	case exact:
		return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: whole}}
	case math.IsNaN(float):
		float = math.NaN()
	}
	return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: float}}
}
