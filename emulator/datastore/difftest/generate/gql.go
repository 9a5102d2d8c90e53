package generate

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// gqlQueries fills the world and asks for it in GQL.
func (g *generator) gqlQueries() {
	g.fill()
	for range g.between(8, 16) {
		text := &gqlText{generator: g, gql: &pb.GqlQuery{AllowLiterals: !g.one(12)}, bind: g.one(3)}
		if g.one(6) {
			text.aggregation()
			g.add(&pb.RunAggregationQueryRequest{ProjectId: script.Project, PartitionId: g.partition(),
				QueryType: &pb.RunAggregationQueryRequest_GqlQuery{GqlQuery: text.finish()}})
			continue
		}
		text.query(g.gqlQuery())
		g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(),
			QueryType: &pb.RunQueryRequest_GqlQuery{GqlQuery: text.finish()}})
	}
}

// gqlQuery is a query that GQL can say.
func (g *generator) gqlQuery() *pb.Query {
	q := g.query()
	q.StartCursor, q.EndCursor = nil, nil
	return q
}

// gqlText renders queries, with literals or with bindings.
type gqlText struct {
	*generator
	gql  *pb.GqlQuery
	bind bool // values by bindings now and then
	b    strings.Builder
}

func (t *gqlText) finish() *pb.GqlQuery {
	t.gql.QueryString = t.b.String()
	if t.one(25) { // a mistake in the text
		s := t.gql.QueryString
		at := t.IntN(len(s) + 1)
		t.gql.QueryString = s[:at] + pick(t.generator, "", " ", ",", "SELECT", "'", "`", ")", "@", "1") + s[min(len(s), at+t.IntN(3)):]
	}
	return t.gql
}

// word writes a keyword in some case.
func (t *gqlText) word(s string) {
	if t.one(8) {
		s = strings.ToLower(s)
	}
	if t.b.Len() > 0 {
		t.b.WriteString(pick(t.generator, " ", " ", " ", "  ", "\n"))
	}
	t.b.WriteString(s)
}

func (t *gqlText) put(s string) { t.b.WriteString(s) }

func (t *gqlText) name(s string) string {
	plain := s != ""
	for i, c := range s {
		if !(c == '_' || c == '.' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && '0' <= c && c <= '9') {
			plain = false
		}
	}
	if plain && !t.one(6) {
		return s
	}
	var parts []string
	for part := range strings.SplitSeq(s, ".") {
		parts = append(parts, "`"+part+"`")
	}
	return strings.Join(parts, ".")
}

func (t *gqlText) query(q *pb.Query) {
	t.word("SELECT")
	var columns, distinct []string
	for _, p := range q.GetProjection() {
		columns = append(columns, t.name(p.GetProperty().GetName()))
	}
	for _, d := range q.GetDistinctOn() {
		distinct = append(distinct, t.name(d.GetName()))
	}
	list := strings.Join(columns, pick(t.generator, ", ", ","))
	if list == "" {
		list = "*"
	}
	switch {
	case len(distinct) > 0 && len(columns) > 0 && t.one(2):
		t.word("DISTINCT")
		t.put(" " + list)
	case len(distinct) > 0:
		t.word("DISTINCT ON")
		t.put(" (" + strings.Join(distinct, ", ") + ") " + list)
	default:
		t.put(" " + list)
	}
	if len(q.GetKind()) > 0 {
		t.word("FROM")
		t.put(" " + t.name(q.GetKind()[0].GetName()))
	}
	if f := q.GetFilter(); f != nil {
		t.word("WHERE")
		t.put(" ")
		t.filter(f, true)
	}
	for i, o := range q.GetOrder() {
		if i == 0 {
			t.word("ORDER BY")
		} else {
			t.put(",")
		}
		t.put(" " + t.name(o.GetProperty().GetName()))
		if o.GetDirection() == pb.PropertyOrder_DESCENDING {
			t.put(" DESC")
		} else if t.one(3) {
			t.put(" ASC")
		}
	}
	if q.GetLimit() != nil {
		t.word("LIMIT")
		t.put(" " + t.number(int64(q.GetLimit().GetValue())))
	}
	if q.GetOffset() > 0 {
		t.word("OFFSET")
		t.put(" " + t.number(int64(q.GetOffset())))
	}
}

func (t *gqlText) number(n int64) string {
	if t.bind && t.one(2) {
		return t.binding(integer(n))
	}
	return strconv.FormatInt(n, 10)
}

func (t *gqlText) filter(f *pb.Filter, outermost bool) {
	p := f.GetPropertyFilter()
	if p == nil {
		c := f.GetCompositeFilter()
		op := " AND "
		if c.GetOp() == pb.CompositeFilter_OR {
			op = " OR "
		}
		if !outermost {
			t.put("(")
		}
		for i, sub := range c.GetFilters() {
			if i > 0 {
				t.put(op)
			}
			t.filter(sub, false)
		}
		if !outermost {
			t.put(")")
		}
		return
	}
	name := t.name(p.GetProperty().GetName())
	v := p.GetValue()
	switch p.GetOp() {
	case pb.PropertyFilter_HAS_ANCESTOR:
		if t.one(3) {
			t.put(t.value(v) + " HAS DESCENDANT " + name)
		} else {
			t.put(name + " HAS ANCESTOR " + t.value(v))
		}
		return
	case pb.PropertyFilter_IN:
		if t.one(3) {
			var vs []string
			for _, e := range v.GetArrayValue().GetValues() {
				vs = append(vs, t.value(e))
			}
			t.put(name + " IN (" + strings.Join(vs, ", ") + ")")
			return
		}
		t.put(name + " IN " + t.value(v))
		return
	case pb.PropertyFilter_NOT_IN:
		t.put(name + " NOT IN " + t.value(v))
		return
	}
	if _, null := v.GetValueType().(*pb.Value_NullValue); null && p.GetOp() == pb.PropertyFilter_EQUAL && t.one(2) {
		t.put(name + " IS NULL")
		return
	}
	forward := map[pb.PropertyFilter_Operator]string{
		pb.PropertyFilter_LESS_THAN: "<", pb.PropertyFilter_LESS_THAN_OR_EQUAL: "<=", pb.PropertyFilter_GREATER_THAN: ">",
		pb.PropertyFilter_GREATER_THAN_OR_EQUAL: ">=", pb.PropertyFilter_EQUAL: "=", pb.PropertyFilter_NOT_EQUAL: "!=",
	}[p.GetOp()]
	backward := map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}[forward]
	switch {
	case forward == "=" && t.one(5):
		t.put(name + " CONTAINS " + t.value(v))
	case forward == "=" && t.one(8):
		t.put(t.value(v) + " IN " + name)
	case t.one(8):
		t.put(t.value(v) + " " + backward + " " + name)
	default:
		t.put(name + pick(t.generator, " ", "") + forward + pick(t.generator, " ", "") + t.value(v))
	}
}

func (t *gqlText) binding(v *pb.Value) string {
	param := &pb.GqlQueryParameter{ParameterType: &pb.GqlQueryParameter_Value{Value: v}}
	if t.one(2) {
		t.gql.PositionalBindings = append(t.gql.PositionalBindings, param)
		return fmt.Sprintf("@%d", len(t.gql.PositionalBindings))
	}
	if t.gql.NamedBindings == nil {
		t.gql.NamedBindings = map[string]*pb.GqlQueryParameter{}
	}
	name := fmt.Sprintf("b%d", len(t.gql.NamedBindings))
	t.gql.NamedBindings[name] = param
	return "@" + name
}

// value is a literal, or a binding where no literal says it.
func (t *gqlText) value(v *pb.Value) string {
	if t.bind && t.one(2) {
		return t.binding(v)
	}
	switch x := v.GetValueType().(type) {
	case *pb.Value_NullValue:
		return pick(t.generator, "NULL", "null")
	case *pb.Value_BooleanValue:
		return pick(t.generator, strconv.FormatBool(x.BooleanValue), strings.ToUpper(strconv.FormatBool(x.BooleanValue)))
	case *pb.Value_IntegerValue:
		return strconv.FormatInt(x.IntegerValue, 10)
	case *pb.Value_DoubleValue:
		if math.IsNaN(x.DoubleValue) || math.IsInf(x.DoubleValue, 0) {
			return t.binding(v)
		}
		s := strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case *pb.Value_TimestampValue:
		return "DATETIME('" + x.TimestampValue.AsTime().Format("2006-01-02T15:04:05.999999999Z07:00") + "')"
	case *pb.Value_KeyValue:
		return t.key(x.KeyValue)
	case *pb.Value_StringValue:
		return quote(x.StringValue, pick(t.generator, '\'', '\'', '"'))
	case *pb.Value_BlobValue:
		return "BLOB('" + base64.RawURLEncoding.EncodeToString(x.BlobValue) + "')"
	case *pb.Value_ArrayValue:
		var vs []string
		for _, e := range x.ArrayValue.GetValues() {
			vs = append(vs, t.value(e))
		}
		return "ARRAY(" + strings.Join(vs, ", ") + ")"
	}
	return t.binding(v)
}

// key is a KEY literal; its namespace is the query's unless it says another.
func (t *gqlText) key(k *pb.Key) string {
	var parts []string
	if ns := k.GetPartitionId().GetNamespaceId(); ns != "" && t.one(3) {
		parts = append(parts, "NAMESPACE("+quote(ns, '\'')+")")
	}
	if t.one(6) {
		parts = append([]string{"PROJECT(" + quote(script.Project, '\'') + ")"}, parts...)
	}
	for _, e := range k.GetPath() {
		parts = append(parts, t.name(e.GetKind()))
		if name, ok := e.GetIdType().(*pb.Key_PathElement_Name); ok {
			parts = append(parts, quote(name.Name, '\''))
		} else {
			parts = append(parts, strconv.FormatInt(e.GetId(), 10))
		}
	}
	return "KEY(" + strings.Join(parts, ", ") + ")"
}

func quote(s string, q rune) string {
	var b strings.Builder
	b.WriteRune(q)
	for _, r := range s {
		switch r {
		case q:
			b.WriteRune(q)
			b.WriteRune(q)
		case '\\':
			b.WriteString(`\\`)
		case 0:
			b.WriteString(`\0`)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteRune(q)
	return b.String()
}

// aggregation writes one of GQL's two forms of aggregations.
func (t *gqlText) aggregation() {
	q := t.gqlQuery()
	aggregates := t.aggregates()
	var list []string
	for _, a := range aggregates {
		var s string
		switch op := a.GetOperator().(type) {
		case *pb.AggregationQuery_Aggregation_Count_:
			s = "COUNT(*)"
			if u := op.Count.GetUpTo(); u != nil {
				s = "COUNT_UP_TO(" + t.number(u.GetValue()) + ")"
			}
		case *pb.AggregationQuery_Aggregation_Sum_:
			s = "SUM(" + t.name(op.Sum.GetProperty().GetName()) + ")"
		case *pb.AggregationQuery_Aggregation_Avg_:
			s = "AVG(" + t.name(op.Avg.GetProperty().GetName()) + ")"
		}
		if a.GetAlias() != "" {
			s += " AS " + t.name(a.GetAlias())
		}
		list = append(list, s)
	}
	if t.one(2) {
		t.word(pick(t.generator, "AGGREGATE", "AGGREGATE", "SELECT"))
		t.put(" " + strings.Join(list, ", "))
		t.word("OVER")
		t.put(" (")
		inner := &gqlText{generator: t.generator, gql: t.gql, bind: t.bind}
		inner.query(q)
		t.put(inner.b.String() + ")")
		return
	}
	q.Projection, q.DistinctOn, q.Order, q.Limit, q.Offset = nil, nil, nil, (*wrapperspb.Int32Value)(nil), 0
	inner := &gqlText{generator: t.generator, gql: t.gql, bind: t.bind}
	inner.query(q)
	t.word("SELECT")
	t.put(" " + strings.Join(list, ", "))
	_, rest, _ := strings.Cut(inner.b.String(), "*")
	t.put(rest)
}
