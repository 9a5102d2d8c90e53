package gql

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// render writes a query on one line, with everything that is in it.
func render(q *pb.Query) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if len(q.GetProjection()) > 0 {
		var names []string
		for _, p := range q.GetProjection() {
			names = append(names, strconv.Quote(p.GetProperty().GetName()))
		}
		add("project %s", strings.Join(names, ", "))
	}
	if len(q.GetDistinctOn()) > 0 {
		var names []string
		for _, p := range q.GetDistinctOn() {
			names = append(names, strconv.Quote(p.GetName()))
		}
		add("distinct on %s", strings.Join(names, ", "))
	}
	for _, k := range q.GetKind() {
		add("kind %q", k.GetName())
	}
	if q.GetFilter() != nil {
		add("filter %s", renderFilter(q.GetFilter()))
	}
	for _, o := range q.GetOrder() {
		add("order %q %s", o.GetProperty().GetName(), o.GetDirection())
	}
	if len(q.GetStartCursor()) > 0 {
		add("start %q", q.GetStartCursor())
	}
	if len(q.GetEndCursor()) > 0 {
		add("end %q", q.GetEndCursor())
	}
	if q.GetOffset() != 0 {
		add("offset %d", q.GetOffset())
	}
	if q.GetLimit() != nil {
		add("limit %d", q.GetLimit().GetValue())
	}
	if parts == nil {
		return "everything"
	}
	return strings.Join(parts, " · ")
}

func renderAggregation(q *pb.AggregationQuery) string {
	var parts []string
	for _, a := range q.GetAggregations() {
		var s string
		switch op := a.GetOperator().(type) {
		case *pb.AggregationQuery_Aggregation_Count_:
			s = "count"
			if op.Count.GetUpTo() != nil {
				s = fmt.Sprintf("count up to %d", op.Count.GetUpTo().GetValue())
			}
		case *pb.AggregationQuery_Aggregation_Sum_:
			s = fmt.Sprintf("sum %q", op.Sum.GetProperty().GetName())
		case *pb.AggregationQuery_Aggregation_Avg_:
			s = fmt.Sprintf("avg %q", op.Avg.GetProperty().GetName())
		}
		if a.GetAlias() != "" {
			s += fmt.Sprintf(" as %q", a.GetAlias())
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ") + " over " + render(q.GetNestedQuery())
}

func renderFilter(f *pb.Filter) string {
	if c := f.GetCompositeFilter(); c != nil {
		var parts []string
		for _, sub := range c.GetFilters() {
			parts = append(parts, renderFilter(sub))
		}
		return "(" + strings.Join(parts, " "+c.GetOp().String()+" ") + ")"
	}
	p := f.GetPropertyFilter()
	return fmt.Sprintf("%q %s %s", p.GetProperty().GetName(), p.GetOp(), renderValue(p.GetValue()))
}

func renderValue(v *pb.Value) string {
	switch t := v.GetValueType().(type) {
	case *pb.Value_NullValue:
		return "null"
	case *pb.Value_BooleanValue:
		return fmt.Sprint(t.BooleanValue)
	case *pb.Value_IntegerValue:
		return fmt.Sprint(t.IntegerValue)
	case *pb.Value_DoubleValue:
		return fmt.Sprintf("double %g", t.DoubleValue)
	case *pb.Value_TimestampValue:
		return "time " + t.TimestampValue.AsTime().Format(time.RFC3339Nano)
	case *pb.Value_StringValue:
		return strconv.Quote(t.StringValue)
	case *pb.Value_BlobValue:
		return fmt.Sprintf("blob %q", t.BlobValue)
	case *pb.Value_KeyValue:
		return renderKey(t.KeyValue)
	case *pb.Value_ArrayValue:
		var parts []string
		for _, e := range t.ArrayValue.GetValues() {
			parts = append(parts, renderValue(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprintf("%T", v.GetValueType())
}

func renderKey(k *pb.Key) string {
	id := k.GetPartitionId()
	parts := []string{fmt.Sprintf("%q %q %q", id.GetProjectId(), id.GetDatabaseId(), id.GetNamespaceId())}
	for _, e := range k.GetPath() {
		identifier := strconv.FormatInt(e.GetId(), 10)
		if name, ok := e.GetIdType().(*pb.Key_PathElement_Name); ok {
			identifier = strconv.Quote(name.Name)
		}
		parts = append(parts, fmt.Sprintf("%q %s", e.GetKind(), identifier))
	}
	return "key(" + strings.Join(parts, " / ") + ")"
}
