package gql

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/types/known/structpb"
)

// maxDepth bounds the nesting of parentheses.
const maxDepth = 100

// condition = conjunction {OR conjunction}.
func (p *parser) condition() *pb.Filter {
	return p.composite("OR", pb.CompositeFilter_OR, p.conjunction)
}

// conjunction = operand {AND operand}.
func (p *parser) conjunction() *pb.Filter {
	return p.composite("AND", pb.CompositeFilter_AND, p.operand)
}

func (p *parser) composite(word string, op pb.CompositeFilter_Operator, part func() *pb.Filter) *pb.Filter {
	filters := []*pb.Filter{part()}
	for p.accept(word) {
		filters = append(filters, part())
	}
	if len(filters) == 1 {
		return filters[0]
	}
	return &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: &pb.CompositeFilter{Op: op, Filters: filters}}}
}

// operand = "(" condition ")" | comparison.
func (p *parser) operand() *pb.Filter {
	if !p.accept("(") {
		return p.comparison()
	}
	if p.depth++; p.depth > maxDepth {
		p.fail(invalid("Parentheses in the condition of a GQL query are nested at most %d deep.", maxDepth))
		return nil
	}
	f := p.condition()
	p.depth--
	if !p.tok.is(")") {
		p.unexpected("AND", "OR", `")"`)
	}
	p.next()
	return f
}

// comparison = path IS NULL | path forward value | value backward path.
func (p *parser) comparison() *pb.Filter {
	switch {
	case p.tok.kind == quotedName, p.tok.kind == unquotedName && !p.peek().is("("):
		return p.forward()
	case p.startsValue():
		return p.backward()
	}
	p.unexpected(`"("`, "a name", "a value")
	return nil
}

func (p *parser) forward() *pb.Filter {
	property := p.property(p.path("a name"))
	switch {
	case p.accept("IS"):
		if !p.tok.is("NULL") {
			p.unexpected("NULL")
		}
		return filter(property, pb.PropertyFilter_EQUAL, p.value())
	case p.accept("IN"), p.accept("CONTAINS"):
		v := p.value()
		return filter(property, among(v), v)
	case p.accept("NOT"):
		// CONTAINS isn't in the reference here; Google's emulators take it for IN.
		if !p.accept("IN") && !p.accept("CONTAINS") {
			p.unexpected("IN")
		}
		return filter(property, pb.PropertyFilter_NOT_IN, p.value())
	case p.accept("HAS"):
		p.relative("ANCESTOR", "PARENT")
		return filter(property, pb.PropertyFilter_HAS_ANCESTOR, p.value())
	}
	op := p.operator("IS", "IN", "NOT IN", "CONTAINS", "HAS ANCESTOR")
	return filter(property, op, p.value())
}

func (p *parser) backward() *pb.Filter {
	v := p.value()
	switch {
	case p.accept("IN"):
		return filter(p.property(p.path("a name")), among(v), v)
	case p.accept("HAS"):
		p.relative("DESCENDANT", "CHILD")
		return filter(p.property(p.path("a name")), pb.PropertyFilter_HAS_ANCESTOR, v)
	}
	op := p.operator("IN", "HAS DESCENDANT")
	switch op {
	case pb.PropertyFilter_LESS_THAN:
		op = pb.PropertyFilter_GREATER_THAN
	case pb.PropertyFilter_LESS_THAN_OR_EQUAL:
		op = pb.PropertyFilter_GREATER_THAN_OR_EQUAL
	case pb.PropertyFilter_GREATER_THAN:
		op = pb.PropertyFilter_LESS_THAN
	case pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
		op = pb.PropertyFilter_LESS_THAN_OR_EQUAL
	}
	return filter(p.property(p.path("a name")), op, v)
}

// among is the operator of IN and CONTAINS, which are other words for = unless
// there is an array to choose from.
func among(v *pb.Value) pb.PropertyFilter_Operator {
	if _, ok := v.GetValueType().(*pb.Value_ArrayValue); ok {
		return pb.PropertyFilter_IN
	}
	return pb.PropertyFilter_EQUAL
}

// relative reads what follows HAS. Google's parser knows parents and children
// too, and refuses them in words of their own.
func (p *parser) relative(supported, unsupported string) {
	if p.tok.is(unsupported) {
		p.fail(invalid("The 'HAS_PARENT' filter is not supported."))
	}
	p.expect(supported)
}

func (p *parser) operator(orElse ...string) pb.PropertyFilter_Operator {
	var op pb.PropertyFilter_Operator
	switch {
	case p.tok.is("="):
		op = pb.PropertyFilter_EQUAL
	case p.tok.is("!="):
		op = pb.PropertyFilter_NOT_EQUAL
	case p.tok.is("<"):
		op = pb.PropertyFilter_LESS_THAN
	case p.tok.is("<="):
		op = pb.PropertyFilter_LESS_THAN_OR_EQUAL
	case p.tok.is(">"):
		op = pb.PropertyFilter_GREATER_THAN
	case p.tok.is(">="):
		op = pb.PropertyFilter_GREATER_THAN_OR_EQUAL
	default:
		p.unexpected(append([]string{`"="`, `"!="`, `"<"`, `"<="`, `">"`, `">="`}, orElse...)...)
	}
	p.next()
	return op
}

func filter(property *pb.PropertyReference, op pb.PropertyFilter_Operator, v *pb.Value) *pb.Filter {
	return &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
		Property: property, Op: op, Value: v}}}
}

func nullValue() *pb.Value {
	return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
}
