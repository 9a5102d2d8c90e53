package model

import (
	"fmt"
	"math"
	"slices"

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
		if name := aggregated(a); name != "" && len(equals(q, name)) == 0 {
			q.Projection = append(q.Projection, &pb.Projection{Property: &pb.PropertyReference{Name: name}})
		}
	}
	m := Parse(partition, q, quirks)
	for _, a := range all {
		if name := aggregated(a); name != "" && m.column(name) < 0 {
			m.needed = append(m.needed, name)
		}
	}
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
			results[alias] = m.total(rows, q, aggregated(a), a.GetAvg() != nil)
		}
	}
	return results
}

func aggregated(a *pb.AggregationQuery_Aggregation) string {
	return a.GetSum().GetProperty().GetName() + a.GetAvg().GetProperty().GetName()
}

// equals are the values that a filter compares the property with for equality.
// Such a property can't be projected.
func equals(q *pb.Query, name string) []*pb.Value {
	var all []*pb.Value
	for _, f := range PropertyFilters(q.GetFilter()) {
		switch {
		case f.GetProperty().GetName() != name:
		case f.GetOp() == pb.PropertyFilter_EQUAL:
			all = append(all, f.GetValue())
		case f.GetOp() == pb.PropertyFilter_IN:
			all = append(all, f.GetValue().GetArrayValue().GetValues()...)
		}
	}
	return all
}

// added is what a row adds to a sum: its value, or where that isn't projected
// the first of the entity's that a filter names, or else its first.
func (m *Query) added(row Row, q *pb.Query, name string) *pb.Value {
	if v := m.value(row, name); v != nil {
		return v
	}
	all := m.indexed(row.Entity, name)
	for _, v := range all {
		if slices.ContainsFunc(equals(q, name), func(w *pb.Value) bool { return Compare(v, w) == 0 }) {
			return v
		}
	}
	return all[0]
}

// rightlyIndexed reports whether a value is in the index without the mistake of
// Quirks.Unindexed. One that isn't is summed up as the number that stands for it.
func (m *Query) rightlyIndexed(e *pb.Entity, name string, v *pb.Value) bool {
	right := Query{quirks: m.quirks}
	right.quirks.Unindexed = false
	return slices.ContainsFunc(right.indexed(e, name), func(w *pb.Value) bool { return Compare(v, w) == 0 })
}

// total is a sum, or a mean.
func (m *Query) total(rows []Row, q *pb.Query, name string, mean bool) *pb.Value {
	var whole int64
	var float float64
	n, exact := 0, true
	for _, row := range rows {
		v := m.added(row, q, name)
		if t := v.GetTimestampValue(); t != nil && !m.rightlyIndexed(row.Entity, name, v) {
			v = &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: t.AsTime().UnixMicro()}}
		}
		switch t := v.GetValueType().(type) {
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
