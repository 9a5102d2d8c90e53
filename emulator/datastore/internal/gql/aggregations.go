package gql

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// aggregation is one of a list. Its property is resolved when the kind is
// known.
type aggregation struct {
	function string // COUNT, COUNT_UP_TO, SUM or AVG
	upTo     int64
	property path
	alias    string
}

func startsAggregation(t token) bool {
	return t.is("COUNT") || t.is("COUNT_UP_TO") || t.is("SUM") || t.is("AVG")
}

func (p *parser) aggregations() []aggregation {
	list := []aggregation{p.aggregation()}
	for p.accept(",") {
		list = append(list, p.aggregation())
	}
	return list
}

// aggregation = (COUNT "(" "*" ")" | COUNT_UP_TO "(" integer ")"
// | (SUM | AVG) "(" path ")") [AS name].
func (p *parser) aggregation() aggregation {
	if p.tok.kind == unquotedName && p.peek().is("(") {
		p.fail(invalid("Unexpected aggregation function: %s", p.tok.image))
	}
	if !startsAggregation(p.tok) {
		p.unexpected("COUNT", "COUNT_UP_TO", "SUM", "AVG")
	}
	a := aggregation{function: p.next().text}
	p.expect("(")
	switch a.function {
	case "COUNT":
		if p.tok.kind == unquotedName || p.tok.kind == quotedName {
			p.fail(invalid("Cloud Datastore only supports counts over the entire result set (i.e. `COUNT(*)`)"))
		}
		p.expect("*")
	case "COUNT_UP_TO":
		if p.tok.kind != integer {
			p.unexpected("an integer")
		}
		p.literal()
		a.upTo = p.integer()
	default:
		a.property = p.path("a name")
	}
	p.expect(")")
	if p.accept("AS") {
		a.alias = p.name("The alias", "a name")
	}
	return a
}

func (a aggregation) message(p *parser) *pb.AggregationQuery_Aggregation {
	m := &pb.AggregationQuery_Aggregation{Alias: a.alias}
	switch a.function {
	case "COUNT":
		m.Operator = &pb.AggregationQuery_Aggregation_Count_{Count: &pb.AggregationQuery_Aggregation_Count{}}
	case "COUNT_UP_TO":
		m.Operator = &pb.AggregationQuery_Aggregation_Count_{
			Count: &pb.AggregationQuery_Aggregation_Count{UpTo: wrapperspb.Int64(a.upTo)}}
	case "SUM":
		m.Operator = &pb.AggregationQuery_Aggregation_Sum_{
			Sum: &pb.AggregationQuery_Aggregation_Sum{Property: p.property(a.property)}}
	case "AVG":
		m.Operator = &pb.AggregationQuery_Aggregation_Avg_{
			Avg: &pb.AggregationQuery_Aggregation_Avg{Property: p.property(a.property)}}
	}
	return m
}
