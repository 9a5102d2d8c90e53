package gql

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/proto"
)

// writer writes queries in GQL. What GQL has no literals for becomes bindings.
type writer struct {
	request *pb.PartitionId
	kind    string
	gql     *pb.GqlQuery
	choose  func(n int) int // one of n ways to write the same
}

func newWriter(request *pb.PartitionId, choose func(int) int) *writer {
	return &writer{request: request, choose: choose,
		gql: &pb.GqlQuery{AllowLiterals: true, NamedBindings: map[string]*pb.GqlQueryParameter{}}}
}

func (w *writer) query(q *pb.Query) string {
	w.kind = ""
	if len(q.GetKind()) > 0 {
		w.kind = q.GetKind()[0].GetName()
	}
	var projection, distinct []string
	for _, p := range q.GetProjection() {
		projection = append(projection, p.GetProperty().GetName())
	}
	for _, p := range q.GetDistinctOn() {
		distinct = append(distinct, p.GetName())
	}
	words := []string{w.word("SELECT")}
	switch {
	case distinct == nil:
	case projection != nil && slices.Equal(projection, distinct) && w.choose(2) == 0:
		words = append(words, w.word("DISTINCT"))
	default:
		words = append(words, w.word("DISTINCT"), w.word("ON"), "("+w.properties(distinct)+")")
	}
	if projection == nil {
		words = append(words, "*")
	} else {
		words = append(words, w.properties(projection))
	}
	words = append(words, w.source(q)...)
	for i, o := range q.GetOrder() {
		if i == 0 {
			words = append(words, w.word("ORDER"), w.word("BY"))
		} else {
			words = append(words, ",")
		}
		words = append(words, w.property(o.GetProperty().GetName()))
		if o.GetDirection() == pb.PropertyOrder_DESCENDING {
			words = append(words, w.word("DESC"))
		} else if w.choose(2) == 0 {
			words = append(words, w.word("ASC"))
		}
	}
	limit, end := q.GetLimit(), q.GetEndCursor()
	switch {
	case limit != nil && end != nil:
		pair := []string{w.count(limit.GetValue()), w.cursor(end)}
		if w.choose(2) == 0 {
			slices.Reverse(pair)
		}
		words = append(words, w.word("LIMIT"), w.word("FIRST"), "("+strings.Join(pair, ",")+")")
	case limit != nil:
		words = append(words, w.word("LIMIT"), w.count(limit.GetValue()))
	case end != nil:
		words = append(words, w.word("LIMIT"), w.cursor(end))
	}
	switch start := q.GetStartCursor(); {
	case start != nil:
		words = append(words, w.word("OFFSET"), w.cursor(start))
		if q.GetOffset() != 0 {
			words = append(words, "+", w.count(q.GetOffset()))
		}
	case q.GetOffset() != 0:
		words = append(words, w.word("OFFSET"), w.count(q.GetOffset()))
	}
	return strings.Join(words, [...]string{" ", "\n", "\t "}[w.choose(3)])
}

// source writes FROM and WHERE.
func (w *writer) source(q *pb.Query) []string {
	var words []string
	if w.kind != "" {
		words = append(words, w.word("FROM"), w.name(w.kind))
	}
	if q.GetFilter() != nil {
		words = append(words, w.word("WHERE"), w.filter(q.GetFilter(), false))
	}
	return words
}

func (w *writer) aggregation(q *pb.AggregationQuery) string {
	nested := q.GetNestedQuery()
	if len(nested.GetKind()) > 0 {
		w.kind = nested.GetKind()[0].GetName()
	}
	var list []string
	for _, a := range q.GetAggregations() {
		var s string
		switch op := a.GetOperator().(type) {
		case *pb.AggregationQuery_Aggregation_Count_:
			s = "COUNT(*)"
			if op.Count.GetUpTo() != nil {
				s = fmt.Sprintf("COUNT_UP_TO(%d)", op.Count.GetUpTo().GetValue())
			}
		case *pb.AggregationQuery_Aggregation_Sum_:
			s = "SUM(" + w.property(op.Sum.GetProperty().GetName()) + ")"
		case *pb.AggregationQuery_Aggregation_Avg_:
			s = "AVG(" + w.property(op.Avg.GetProperty().GetName()) + ")"
		}
		if a.GetAlias() != "" {
			s += " AS " + w.name(a.GetAlias())
		}
		list = append(list, s)
	}
	simple := proto.CloneOf(nested)
	simple.Kind, simple.Filter = nil, nil
	if proto.Size(simple) == 0 && w.choose(2) == 0 {
		return w.word("SELECT") + " " + strings.Join(list, ", ") + " " + strings.Join(w.source(nested), " ")
	}
	return w.word("AGGREGATE") + " " + strings.Join(list, ", ") + " OVER (" + w.query(nested) + ")"
}

func (w *writer) word(s string) string {
	if w.choose(2) == 0 {
		return s
	}
	return strings.ToLower(s)
}

// escaped renders s between quotes.
func (w *writer) escaped(s string, quote rune) string {
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote && w.choose(2) == 0:
			b.WriteRune(quote)
			b.WriteRune(quote)
		case r == quote, r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == 0 && w.choose(2) == 0:
			b.WriteString(`\0`)
		case r == 26 && w.choose(2) == 0:
			b.WriteString(`\Z`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteRune(quote)
	return b.String()
}

func (w *writer) name(s string) string {
	plain := startsName(s[0]) && !isKeyword(upper(s))
	for i := range len(s) {
		plain = plain && continuesName(s[i])
	}
	if plain && w.choose(2) == 0 {
		return s
	}
	return w.escaped(s, '`')
}

func (w *writer) property(s string) string {
	if w.kind != "" && w.choose(3) == 1 {
		return w.name(w.kind) + "." + w.name(s)
	}
	return w.name(s)
}

func (w *writer) properties(names []string) string {
	var list []string
	for _, n := range names {
		list = append(list, w.property(n))
	}
	return strings.Join(list, ", ")
}

func (w *writer) bind(p *pb.GqlQueryParameter) string {
	if w.choose(2) == 0 {
		w.gql.PositionalBindings = append(w.gql.PositionalBindings, p)
		return fmt.Sprintf("@%d", len(w.gql.PositionalBindings))
	}
	name := fmt.Sprintf("b$%d_", len(w.gql.NamedBindings))
	w.gql.NamedBindings[name] = p
	return "@" + name
}

func (w *writer) cursor(c []byte) string {
	return w.bind(&pb.GqlQueryParameter{ParameterType: &pb.GqlQueryParameter_Cursor{Cursor: c}})
}

func (w *writer) boundValue(v *pb.Value) string {
	return w.bind(&pb.GqlQueryParameter{ParameterType: &pb.GqlQueryParameter_Value{Value: v}})
}

func (w *writer) count(n int32) string {
	v := &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(n)}}
	return w.value(v)
}

func (w *writer) filter(f *pb.Filter, inside bool) string {
	if c := f.GetCompositeFilter(); c != nil {
		var list []string
		for _, sub := range c.GetFilters() {
			s := w.filter(sub, true)
			if w.choose(4) == 1 {
				s = "(" + s + ")"
			}
			list = append(list, s)
		}
		s := strings.Join(list, " "+w.word(c.GetOp().String())+" ")
		if inside {
			s = "(" + s + ")"
		}
		return s
	}
	p := f.GetPropertyFilter()
	name, v := w.property(p.GetProperty().GetName()), p.GetValue()
	_, isArray := v.GetValueType().(*pb.Value_ArrayValue)
	var forward, backward []string
	switch p.GetOp() {
	case pb.PropertyFilter_EQUAL:
		forward, backward = []string{"="}, []string{"="}
		if !isArray {
			forward, backward = []string{"=", "IN", "CONTAINS"}, []string{"=", "IN"}
		}
		if _, ok := v.GetValueType().(*pb.Value_NullValue); ok && proto.Equal(v, nullValue()) && w.choose(2) == 0 {
			return name + " IS NULL"
		}
	case pb.PropertyFilter_IN:
		forward, backward = []string{"IN", "CONTAINS"}, []string{"IN"}
	case pb.PropertyFilter_NOT_IN:
		forward = []string{"NOT IN", "NOT CONTAINS"}
	case pb.PropertyFilter_HAS_ANCESTOR:
		forward, backward = []string{"HAS ANCESTOR"}, []string{"HAS DESCENDANT"}
	case pb.PropertyFilter_NOT_EQUAL:
		forward, backward = []string{"!="}, []string{"!="}
	case pb.PropertyFilter_LESS_THAN:
		forward, backward = []string{"<"}, []string{">"}
	case pb.PropertyFilter_LESS_THAN_OR_EQUAL:
		forward, backward = []string{"<="}, []string{">="}
	case pb.PropertyFilter_GREATER_THAN:
		forward, backward = []string{">"}, []string{"<"}
	case pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
		forward, backward = []string{">="}, []string{"<="}
	}
	if i := w.choose(len(forward) + len(backward)); i >= len(forward) {
		return w.value(v) + " " + w.word(backward[i-len(forward)]) + " " + name
	} else {
		return name + " " + w.word(forward[i]) + " " + w.value(v)
	}
}

// value writes a literal, or a binding site if there is none.
func (w *writer) value(v *pb.Value) string {
	if v.GetMeaning() != 0 || v.GetExcludeFromIndexes() || w.choose(6) == 1 {
		return w.boundValue(v)
	}
	switch t := v.GetValueType().(type) {
	case *pb.Value_NullValue:
		if proto.Equal(v, nullValue()) {
			return w.word("NULL")
		}
	case *pb.Value_BooleanValue:
		return w.word(strings.ToUpper(strconv.FormatBool(t.BooleanValue)))
	case *pb.Value_IntegerValue:
		return strconv.FormatInt(t.IntegerValue, 10)
	case *pb.Value_DoubleValue:
		if !math.IsInf(t.DoubleValue, 0) && !math.IsNaN(t.DoubleValue) {
			s := strconv.FormatFloat(t.DoubleValue, 'g', -1, 64)
			if !strings.ContainsAny(s, ".e") {
				s += "."
			}
			return s
		}
	case *pb.Value_StringValue:
		return w.escaped(t.StringValue, rune(`'"`[w.choose(2)]))
	case *pb.Value_BlobValue:
		return "BLOB('" + base64.RawURLEncoding.EncodeToString(t.BlobValue) + "')"
	case *pb.Value_TimestampValue:
		if at := t.TimestampValue.AsTime(); t.TimestampValue.IsValid() && t.TimestampValue.GetNanos()%1000 == 0 {
			zone := [...]*time.Location{time.UTC, time.FixedZone("", -8*3600), time.FixedZone("", 5400)}[w.choose(3)]
			if y := at.In(zone).Year(); y >= 1 && y <= 9999 {
				return w.word("DATETIME") + `("` + at.In(zone).Format(time.RFC3339Nano) + `")`
			}
		}
	case *pb.Value_ArrayValue:
		var list []string
		for _, e := range t.ArrayValue.GetValues() {
			if _, ok := e.GetValueType().(*pb.Value_ArrayValue); ok {
				return w.boundValue(v)
			}
			list = append(list, w.value(e))
		}
		return w.word("ARRAY") + "(" + strings.Join(list, ",") + ")"
	case *pb.Value_KeyValue:
		if s, ok := w.key(t.KeyValue); ok {
			return s
		}
	}
	return w.boundValue(v)
}

func (w *writer) key(k *pb.Key) (string, bool) {
	id := k.GetPartitionId()
	dimension := func(mine, requests string) bool { return mine == "" && requests != "" }
	if id == nil || len(k.GetPath()) == 0 || dimension(id.GetProjectId(), w.request.GetProjectId()) || dimension(id.GetDatabaseId(), w.request.GetDatabaseId()) {
		return "", false
	}
	var list []string
	if !proto.Equal(id, w.request) || w.choose(2) == 0 {
		list = append(list,
			w.word("PROJECT")+"("+w.escaped(id.GetProjectId(), '"')+")",
			w.word("DATABASE")+"("+w.escaped(id.GetDatabaseId(), '\'')+")",
			w.word("NAMESPACE")+"("+w.escaped(id.GetNamespaceId(), '"')+")")
	}
	for _, e := range k.GetPath() {
		if e.GetKind() == "" {
			return "", false
		}
		switch id := e.GetIdType().(type) {
		case *pb.Key_PathElement_Id:
			if id.Id <= 0 {
				return "", false
			}
			list = append(list, w.name(e.GetKind()), strconv.FormatInt(id.Id, 10))
		case *pb.Key_PathElement_Name:
			if id.Name == "" {
				return "", false
			}
			list = append(list, w.name(e.GetKind()), w.escaped(id.Name, '\''))
		default:
			return "", false
		}
	}
	return w.word("KEY") + "(" + strings.Join(list, " , ") + ")", true
}
