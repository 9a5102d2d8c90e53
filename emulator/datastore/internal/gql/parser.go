package gql

import (
	"strings"
	"unicode/utf8"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// maxLength bounds query strings, in bytes. A hundred filters with the longest
// strings that an index takes fit several times.
const maxLength = 1 << 20

// ParseQuery returns the query that q stands for in a request for the given
// partition. An aggregation query is an error.
func ParseQuery(q *pb.GqlQuery, partition *pb.PartitionId) (*pb.Query, error) {
	query, aggregations, err := parse(q, partition)
	if err == nil && aggregations != nil {
		err = invalid("The GQL query has aggregations: RunAggregationQuery runs it, RunQuery doesn't.")
	}
	if err != nil {
		return nil, err
	}
	return query, nil
}

// ParseAggregation returns the aggregation query that q stands for in a
// request for the given partition. A query without aggregations is an error.
func ParseAggregation(q *pb.GqlQuery, partition *pb.PartitionId) (*pb.AggregationQuery, error) {
	query, aggregations, err := parse(q, partition)
	if err == nil && aggregations == nil {
		err = invalid("The GQL query has no aggregations: RunQuery runs it, RunAggregationQuery doesn't.")
	}
	if err != nil {
		return nil, err
	}
	return &pb.AggregationQuery{
		QueryType:    &pb.AggregationQuery_NestedQuery{NestedQuery: query},
		Aggregations: aggregations,
	}, nil
}

func parse(q *pb.GqlQuery, partition *pb.PartitionId) (*pb.Query, []*pb.AggregationQuery_Aggregation, error) {
	src := q.GetQueryString()
	switch {
	case len(src) > maxLength:
		return nil, nil, invalid("The GQL query string is longer than %d bytes: it has %d.", maxLength, len(src))
	case !utf8.ValidString(src):
		return nil, nil, invalid("The GQL query string is not valid UTF-8.")
	}
	b, err := newBindings(q)
	if err != nil {
		return nil, nil, err
	}
	p := &parser{lexer: lexer{src: src}, bindings: b, partition: partition, literals: q.GetAllowLiterals()}
	p.next()
	query, aggregations := p.statement()
	p.fail(b.unused())
	return query, aggregations, p.err
}

// parser reads a query from left to right. Its first error ends the query: no
// token comes after it, and what the methods return then has no meaning.
type parser struct {
	lexer     lexer
	tok       token // the one to be read next
	ahead     *token
	err       error
	bindings  *bindings
	partition *pb.PartitionId
	literals  bool // literals are allowed

	kind  string // of the FROM clause; property names may begin with it
	depth int    // of parentheses in conditions
}

// fail keeps the first error.
func (p *parser) fail(err error) {
	if err != nil && p.err == nil {
		p.err = err
		p.tok, p.ahead = token{}, nil
	}
}

// unexpected fails because of the token at hand.
func (p *parser) unexpected(want ...string) {
	if p.err == nil {
		p.fail(unexpected(p.lexer.src, p.tok, want...))
	}
}

// next returns the token at hand and goes to the one behind it.
func (p *parser) next() token {
	read := p.tok
	p.tok = p.peek()
	p.ahead = nil
	return read
}

// peek returns the token behind the one at hand.
func (p *parser) peek() token {
	if p.ahead == nil && p.err == nil {
		t, err := p.lexer.next()
		p.fail(err)
		p.ahead = &t
	}
	if p.err != nil {
		return token{}
	}
	return *p.ahead
}

// accept goes on if a keyword or symbol is next.
func (p *parser) accept(text string) bool {
	if !p.tok.is(text) || p.err != nil {
		return false
	}
	p.next()
	return p.err == nil
}

// expect demands a keyword or symbol.
func (p *parser) expect(text string) {
	if p.err == nil && !p.accept(text) {
		p.unexpected(show(text))
	}
}

// show renders a keyword or symbol for a list of what was expected.
func show(text string) string {
	if startsName(text[0]) {
		return text
	}
	return `"` + text + `"`
}

// statement = query | SELECT aggregations [FROM kind] [WHERE condition]
// | AGGREGATE aggregations OVER "(" query ")".
func (p *parser) statement() (*pb.Query, []*pb.AggregationQuery_Aggregation) {
	query := &pb.Query{}
	var list []aggregation
	switch {
	case p.accept("AGGREGATE"):
		list = p.aggregations()
		p.expect("OVER")
		p.expect("(")
		p.query(query)
		p.expect(")")
		p.end()
	case p.tok.is("SELECT") && startsAggregation(p.peek()):
		p.next()
		list = p.aggregations()
		p.from(query)
		p.where(query)
		p.end("WHERE")
	case p.tok.is("SELECT"):
		p.query(query)
		p.end("a further clause")
	default:
		p.unexpected("SELECT", "AGGREGATE")
	}
	if p.err != nil || list == nil {
		return query, nil
	}
	out := make([]*pb.AggregationQuery_Aggregation, len(list))
	for i, a := range list {
		out[i] = a.message(p)
	}
	return query, out
}

// end demands the end of the query, where more clauses might have followed.
func (p *parser) end(clauses ...string) {
	if p.tok.kind != endOfQuery {
		p.unexpected(append(clauses, "the end of the query")...)
	}
}

// query = SELECT selection [FROM kind] [WHERE condition] [ORDER BY orders]
// [LIMIT limit] [OFFSET offset].
func (p *parser) query(q *pb.Query) {
	p.expect("SELECT")
	projection, distinct := p.selection()
	p.from(q)
	for _, name := range projection {
		q.Projection = append(q.Projection, &pb.Projection{Property: p.property(name)})
	}
	for _, name := range distinct {
		q.DistinctOn = append(q.DistinctOn, p.property(name))
	}
	p.where(q)
	if p.accept("GROUP") {
		p.expect("BY")
		p.fail(invalid("GROUP BY not supported."))
	}
	if p.accept("ORDER") {
		p.expect("BY")
		p.orders(q)
	}
	if p.accept("LIMIT") {
		p.limit(q)
	}
	if p.accept("OFFSET") {
		p.offset(q)
	}
}

// selection = "*" | paths | DISTINCT paths | DISTINCT ON "(" paths ")" ("*" | paths).
func (p *parser) selection() (projection, distinct []path) {
	if p.accept("DISTINCT") {
		if !p.accept("ON") {
			if p.tok.is("*") {
				p.fail(invalid(`Encountered "*" immediately after DISTINCT.`))
			}
			projection = p.paths("ON", "a name")
			return projection, projection
		}
		p.expect("(")
		distinct = p.paths("a name")
		p.expect(")")
	}
	switch {
	case p.accept("*"):
	case p.tok.kind == unquotedName && p.peek().is("("):
		p.fail(invalid("Unexpected aggregation function: %s", p.tok.image))
	case distinct != nil:
		projection = p.paths(`"*"`, "a name")
	default:
		projection = p.paths("DISTINCT", "an aggregation", `"*"`, "a name")
	}
	return projection, distinct
}

func (p *parser) from(q *pb.Query) {
	p.kind = ""
	if p.accept("FROM") {
		p.kind = p.name("The kind", "the name of a kind")
		q.Kind = []*pb.KindExpression{{Name: p.kind}}
	}
}

func (p *parser) where(q *pb.Query) {
	if p.accept("WHERE") {
		q.Filter = p.condition()
	}
}

func (p *parser) orders(q *pb.Query) {
	for more := true; more; more = p.accept(",") {
		o := &pb.PropertyOrder{Property: p.property(p.path("a name")), Direction: pb.PropertyOrder_ASCENDING}
		if p.accept("DESC") {
			o.Direction = pb.PropertyOrder_DESCENDING
		} else {
			p.accept("ASC")
		}
		q.Order = append(q.Order, o)
	}
}

// limit = count | cursor | FIRST "(" count "," cursor ")" | FIRST "(" cursor "," count ")".
func (p *parser) limit(q *pb.Query) {
	setLimit := func(pos resultPosition) { q.Limit = wrapperspb.Int32(pos.count) }
	if p.tok.kind != unquotedName {
		pos := p.resultPosition("limit", "FIRST")
		if pos.isCursor {
			q.EndCursor = pos.cursor
		} else {
			setLimit(pos)
		}
		return
	}
	if upper(p.tok.text) != "FIRST" {
		p.fail(invalid("Unexpected name \"%s\" (after LIMIT).", p.tok.image))
	}
	p.next()
	p.expect("(")
	first := p.resultPosition("limit")
	p.expect(",")
	if p.err == nil && !first.isCursor {
		setLimit(first)
		q.EndCursor = p.limitCursor()
	} else {
		q.EndCursor = first.cursor
		setLimit(p.count("limit"))
	}
	p.expect(")")
}

// offset = count | cursor ["+" count].
func (p *parser) offset(q *pb.Query) {
	pos := p.resultPosition("offset")
	if !pos.isCursor {
		q.Offset = pos.count
		if p.tok.is("+") {
			p.fail(invalid(`Encountered "+" after integer offset.`))
		}
		return
	}
	q.StartCursor = pos.cursor
	if !p.accept("+") {
		return
	}
	q.Offset = p.count("offset").count
}

// count reads a result position that must not be a cursor.
func (p *parser) count(clause string) resultPosition {
	pos := p.resultPosition(clause)
	if pos.isCursor {
		p.fail(invalid("Binding site %s for %s bound to non-value parameter.", pos.site.image, clause))
	}
	return pos
}

// limitCursor reads a result position that must be a cursor.
func (p *parser) limitCursor() []byte {
	switch p.tok.kind {
	case namedSite, numberedSite:
		param, err := p.bindings.at(p.tok)
		p.fail(err)
		cursor, ok := param.GetParameterType().(*pb.GqlQueryParameter_Cursor)
		if !ok {
			p.fail(invalid("Binding site %s for limit bound to non-cursor parameter.", p.tok.image))
			return nil
		}
		p.next()
		return cursor.Cursor
	case integer:
		p.fail(invalid("Expected limit cursor instead of %s.", p.tok.image))
	default:
		p.unexpected("a binding site")
	}
	return nil
}

// resultPosition reads an integer or a binding site.
func (p *parser) resultPosition(clause string, orElse ...string) resultPosition {
	switch p.tok.kind {
	case integer:
		p.literal()
	case namedSite, numberedSite:
	default:
		p.unexpected(append([]string{"an integer", "a binding site"}, orElse...)...)
	}
	if p.err != nil {
		return resultPosition{}
	}
	pos, err := p.bindings.position(p.tok, clause)
	p.fail(err)
	p.next()
	return pos
}

// path is a dotted name.
type path []string

func (p *parser) paths(want ...string) []path {
	list := []path{p.path(want...)}
	for p.accept(",") {
		list = append(list, p.path("a name"))
	}
	return list
}

func (p *parser) path(want ...string) path {
	names := path{p.name("The property.name", want...)}
	for p.accept(".") {
		names = append(names, p.name("The property.name", "a name"))
	}
	return names
}

// property resolves a path: it may begin with the kind.
func (p *parser) property(names path) *pb.PropertyReference {
	if len(names) > 1 && p.kind != "" && names[0] == p.kind {
		names = names[1:]
	}
	return &pb.PropertyReference{Name: strings.Join(names, ".")}
}

func (p *parser) name(what string, want ...string) string {
	if p.tok.kind != unquotedName && p.tok.kind != quotedName {
		p.unexpected(want...)
	} else if p.tok.text == "" {
		p.fail(invalid("%s is the empty string.", what))
	}
	return p.next().text
}
