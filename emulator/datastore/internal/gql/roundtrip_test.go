package gql

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

// TestRoundTrip: a query that is written in GQL, in whatever way, is read as
// the same query.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t, &pb.PartitionId{ProjectId: "proj", DatabaseId: g(t, "", "db"), NamespaceId: g(t, "", "ns")}}
		w := newWriter(g.request, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "way") })
		if rapid.IntRange(0, 3).Draw(t, "aggregation") > 0 {
			want := g.query()
			w.gql.QueryString = w.query(want)
			got, err := ParseQuery(w.gql, g.request)
			if err != nil || !proto.Equal(got, want) {
				t.Fatalf("%s\n got %s, %v\nwant %s", w.gql, render(got), err, render(want))
			}
			return
		}
		want := g.aggregation()
		w.gql.QueryString = w.aggregation(want)
		got, err := ParseAggregation(w.gql, g.request)
		if err != nil || !proto.Equal(got, want) {
			t.Fatalf("%s\n got %s, %v\nwant %s", w.gql, renderAggregation(got), err, renderAggregation(want))
		}
	})
}

// FuzzParse: no query crashes the parser, its errors are bounded and proper
// UTF-8, and what it reads can be written and read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"SELECT * FROM A WHERE a = 'x\\n''y' AND (b < -3.5e-1 OR @1 IN `b c`.d) ORDER BY a DESC, b LIMIT FIRST(@c, 5) OFFSET @c + 3",
		"SELECT DISTINCT ON (A.a, b) a, b FROM A WHERE __key__ HAS ANCESTOR KEY(PROJECT('p'), DATABASE(\"d\"), NAMESPACE('n'), A, 1, B, 'x')",
		"SELECT DISTINCT é FROM 漢 WHERE KEY(A, 1) HAS DESCENDANT __key__ AND a NOT IN ARRAY(1, @x, NULL, true, DATETIME('2013-09-29T09:30:20.00002-08:00'), BLOB('-_8'))",
		"AGGREGATE COUNT(*) AS n, SUM(a.b), AVG(c), COUNT_UP_TO(3) OVER (SELECT __key__ FROM A WHERE a IS NULL)",
		"SELECT COUNT(*) FROM A WHERE 1 != a AND a CONTAINS 2",
		"SELEKT", "SELECT * FROM A WHERE a = 'x", "SELECT * FROM A WHERE ((((((a = 1", "", "\r\n\t@", "`\\", "1e", "-", "😀 =",
	} {
		f.Add(s, true, "x", int64(7), []byte("cursor"))
	}
	f.Fuzz(func(t *testing.T, src string, literals bool, text string, n int64, cursor []byte) {
		if !utf8.ValidString(text) {
			t.Skip("no message carries such a string")
		}
		value := func(v *pb.Value) *pb.GqlQueryParameter {
			return &pb.GqlQueryParameter{ParameterType: &pb.GqlQueryParameter_Value{Value: v}}
		}
		in := &pb.GqlQuery{QueryString: src, AllowLiterals: literals, NamedBindings: map[string]*pb.GqlQueryParameter{
			"x": value(&pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: n}}),
			"c": {ParameterType: &pb.GqlQueryParameter_Cursor{Cursor: cursor}},
		}}
		if strings.Contains(src, "@1") {
			in.PositionalBindings = []*pb.GqlQueryParameter{value(&pb.Value{ValueType: &pb.Value_StringValue{StringValue: text}})}
		}
		request := &pb.PartitionId{ProjectId: "proj", NamespaceId: "ns"}
		w := newWriter(request, func(int) int { return 0 })
		if q, err := ParseQuery(in, request); err == nil {
			w.gql.QueryString = w.query(q)
			again, err := ParseQuery(w.gql, request)
			if err != nil || !proto.Equal(again, q) {
				t.Fatalf("%q written as %q: %v\n got %s\nwant %s", src, w.gql.QueryString, err, render(again), render(q))
			}
			return
		} else if len(err.Error()) > 5<<10 || !utf8.ValidString(err.Error()) {
			t.Fatalf("an error of %d bytes: %q", len(err.Error()), err.Error())
		}
		a, err := ParseAggregation(in, request)
		if err != nil {
			return
		}
		w.gql.QueryString = w.aggregation(a)
		again, err := ParseAggregation(w.gql, request)
		if err != nil || !proto.Equal(again, a) {
			t.Fatalf("%q written as %q: %v\n got %s\nwant %s", src, w.gql.QueryString, err, renderAggregation(again), renderAggregation(a))
		}
	})
}

// generator draws queries, most of which no index could serve.
type generator struct {
	*rapid.T
	request *pb.PartitionId
}

func g[T any](t *rapid.T, from ...T) T { return rapid.SampledFrom(from).Draw(t, "pick") }

func (r generator) some(label string) bool { return rapid.IntRange(0, 2).Draw(r.T, label) == 0 }

func (r generator) name() string {
	return g(r.T, "a", "b.c", "A", "A.b", "A.A.b", "select", "Over", "x y", "`", "\\", "\n'\"", "é漢😀", "1", "$_1", "key", "first", "\x00\x1a\r\t\b")
}

func (r generator) properties(least int) []*pb.PropertyReference {
	var list []*pb.PropertyReference
	for range rapid.IntRange(least, 3).Draw(r.T, "properties") {
		list = append(list, &pb.PropertyReference{Name: r.name()})
	}
	return list
}

func (r generator) query() *pb.Query {
	q := &pb.Query{}
	if !r.some("kindless") {
		q.Kind = []*pb.KindExpression{{Name: r.name()}}
	}
	for _, p := range r.properties(0) {
		q.Projection = append(q.Projection, &pb.Projection{Property: p})
	}
	if r.some("distinct") {
		q.DistinctOn = r.properties(1)
	} else if r.some("distinct projection") {
		for _, p := range q.GetProjection() {
			q.DistinctOn = append(q.DistinctOn, p.GetProperty())
		}
	}
	if !r.some("unfiltered") {
		q.Filter = r.filter(0)
	}
	for _, p := range r.properties(0) {
		q.Order = append(q.Order, &pb.PropertyOrder{Property: p, Direction: g(r.T, pb.PropertyOrder_ASCENDING, pb.PropertyOrder_DESCENDING)})
	}
	if r.some("limit") {
		q.Limit = wrapperspb.Int32(rapid.Int32Min(0).Draw(r.T, "limit"))
	}
	if r.some("offset") {
		q.Offset = rapid.Int32Min(0).Draw(r.T, "offset")
	}
	if r.some("start") {
		q.StartCursor = rapid.SliceOf(rapid.Byte()).Draw(r.T, "start")
	}
	if r.some("end") {
		q.EndCursor = rapid.SliceOf(rapid.Byte()).Draw(r.T, "end")
	}
	return q
}

func (r generator) aggregation() *pb.AggregationQuery {
	q := &pb.AggregationQuery{QueryType: &pb.AggregationQuery_NestedQuery{NestedQuery: r.query()}}
	for range rapid.IntRange(1, 5).Draw(r.T, "aggregations") {
		a := &pb.AggregationQuery_Aggregation{}
		if r.some("alias") {
			a.Alias = r.name()
		}
		p := &pb.PropertyReference{Name: r.name()}
		switch rapid.IntRange(0, 3).Draw(r.T, "function") {
		case 0:
			a.Operator = &pb.AggregationQuery_Aggregation_Count_{Count: &pb.AggregationQuery_Aggregation_Count{}}
		case 1:
			a.Operator = &pb.AggregationQuery_Aggregation_Count_{Count: &pb.AggregationQuery_Aggregation_Count{
				UpTo: wrapperspb.Int64(rapid.Int64().Draw(r.T, "up to"))}}
		case 2:
			a.Operator = &pb.AggregationQuery_Aggregation_Sum_{Sum: &pb.AggregationQuery_Aggregation_Sum{Property: p}}
		case 3:
			a.Operator = &pb.AggregationQuery_Aggregation_Avg_{Avg: &pb.AggregationQuery_Aggregation_Avg{Property: p}}
		}
		q.Aggregations = append(q.Aggregations, a)
	}
	return q
}

func (r generator) filter(depth int) *pb.Filter {
	if depth < 3 && r.some("composite") {
		c := &pb.CompositeFilter{Op: g(r.T, pb.CompositeFilter_AND, pb.CompositeFilter_OR)}
		for range rapid.IntRange(2, 3).Draw(r.T, "filters") {
			c.Filters = append(c.Filters, r.filter(depth+1))
		}
		return &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: c}}
	}
	op := g(r.T, pb.PropertyFilter_EQUAL, pb.PropertyFilter_NOT_EQUAL, pb.PropertyFilter_IN, pb.PropertyFilter_NOT_IN,
		pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL, pb.PropertyFilter_GREATER_THAN,
		pb.PropertyFilter_GREATER_THAN_OR_EQUAL, pb.PropertyFilter_HAS_ANCESTOR)
	v := r.value(false)
	if op == pb.PropertyFilter_IN {
		v = r.array()
	}
	return filter(&pb.PropertyReference{Name: r.name()}, op, v)
}

func (r generator) array() *pb.Value {
	a := &pb.ArrayValue{}
	for range rapid.IntRange(0, 3).Draw(r.T, "elements") {
		a.Values = append(a.Values, r.value(true))
	}
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: a}}
}

func (r generator) value(element bool) *pb.Value {
	v := &pb.Value{}
	switch rapid.IntRange(0, 11).Draw(r.T, "type") {
	case 0:
		return nullValue()
	case 1:
		v.ValueType = &pb.Value_BooleanValue{BooleanValue: r.some("true")}
	case 2:
		v.ValueType = &pb.Value_DoubleValue{DoubleValue: g(r.T, 0, -1.5, 1, 1e300, -5e-324, math.Inf(1), math.Copysign(0, -1), rapid.Float64().Draw(r.T, "double"))}
	case 3:
		v.ValueType = &pb.Value_StringValue{StringValue: g(r.T, "", "it's", `"`, "\\%", "\n\x00", "é😀", rapid.String().Draw(r.T, "string"))}
	case 4:
		v.ValueType = &pb.Value_BlobValue{BlobValue: rapid.SliceOf(rapid.Byte()).Draw(r.T, "blob")}
	case 5:
		v.ValueType = &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{
			Seconds: rapid.Int64Range(-62135596800, 253402300799).Draw(r.T, "seconds"),
			Nanos:   g[int32](r.T, 0, 1000, 999999000, 1, 500000000)}}
	case 6, 7:
		v.ValueType = &pb.Value_KeyValue{KeyValue: r.key()}
	case 8:
		v.ValueType = &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: 1}}
	case 9:
		if !element {
			return r.array()
		}
		v.ExcludeFromIndexes = true
	default:
		v.ValueType = &pb.Value_IntegerValue{IntegerValue: rapid.Int64().Draw(r.T, "integer")}
	}
	return v
}

func (r generator) key() *pb.Key {
	k := &pb.Key{PartitionId: proto.CloneOf(r.request)}
	if r.some("foreign") {
		k.PartitionId = &pb.PartitionId{ProjectId: g(r.T, "proj", "other", ""), DatabaseId: g(r.T, "", "db", "x"), NamespaceId: g(r.T, "", "ns", "y")}
	}
	for range rapid.IntRange(1, 3).Draw(r.T, "path") {
		e := &pb.Key_PathElement{Kind: r.name()}
		if r.some("named") {
			e.IdType = &pb.Key_PathElement_Name{Name: g(r.T, "x", "it's", "", r.name())}
		} else {
			e.IdType = &pb.Key_PathElement_Id{Id: rapid.Int64().Draw(r.T, "id")}
		}
		k.Path = append(k.Path, e)
	}
	return k
}
