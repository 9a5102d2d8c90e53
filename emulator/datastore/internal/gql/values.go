package gql

import (
	"encoding/base64"
	"regexp"
	"strings"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// startsValue says whether a value is next. A name without parentheses counts
// too: it gets the error of an unknown function.
func (p *parser) startsValue() bool {
	switch p.tok.kind {
	case unquotedName, integer, double, singleQuoted, doubleQuoted, namedSite, numberedSite:
		return true
	}
	return p.tok.is("NULL") || p.tok.is("TRUE") || p.tok.is("FALSE")
}

// value = literal | binding site | function.
func (p *parser) value() *pb.Value {
	switch {
	case !p.startsValue():
		p.unexpected("a value", "a binding site")
		return nil
	case p.tok.kind == namedSite, p.tok.kind == numberedSite:
		v, err := p.bindings.value(p.tok)
		p.fail(err)
		p.next()
		return v
	case p.tok.kind == unquotedName:
		return p.function()
	}
	p.literal()
	switch p.tok.kind {
	case integer:
		return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: p.integer()}}
	case double:
		f, err := parseDouble(p.next())
		p.fail(err)
		return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: f}}
	case singleQuoted, doubleQuoted:
		return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: p.next().text}}
	}
	if p.accept("NULL") {
		return nullValue()
	}
	return &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: p.next().text == "TRUE"}}
}

// literal fails if the token at hand, which is a literal or the name of a
// function that makes one, is not allowed.
func (p *parser) literal() {
	if !p.literals {
		p.fail(invalid("Disallowed literal: %s.", p.tok.image))
	}
}

func (p *parser) integer() int64 {
	if p.err != nil {
		return 0
	}
	n, err := parseInteger(p.next())
	p.fail(err)
	return n
}

// text reads a string literal that is a function's argument.
func (p *parser) text() string {
	if p.tok.kind != singleQuoted && p.tok.kind != doubleQuoted {
		p.unexpected("a string")
	}
	return p.next().text
}

// function = KEY "(" … ")" | ARRAY "(" … ")" | BLOB "(" text ")" | DATETIME "(" text ")".
func (p *parser) function() *pb.Value {
	v := &pb.Value{}
	switch upper(p.tok.text) {
	case "KEY":
		p.open()
		v.ValueType = &pb.Value_KeyValue{KeyValue: p.key()}
	case "ARRAY":
		p.open()
		v.ValueType = &pb.Value_ArrayValue{ArrayValue: p.array()}
	case "BLOB":
		p.open()
		blob, err := parseBlob(p.text())
		p.fail(err)
		v.ValueType = &pb.Value_BlobValue{BlobValue: blob}
	case "DATETIME":
		p.open()
		ts, err := parseTime(p.text())
		p.fail(err)
		v.ValueType = &pb.Value_TimestampValue{TimestampValue: ts}
	default:
		p.fail(invalid("Unknown function \"%s\".", p.tok.image))
	}
	p.expect(")")
	return v
}

// open reads the name of a function and the parenthesis behind it.
func (p *parser) open() {
	p.literal()
	p.next()
	p.expect("(")
}

func (p *parser) array() *pb.ArrayValue {
	a := &pb.ArrayValue{}
	if p.tok.is(")") {
		return a // refused by the operators that take arrays
	}
	for more := true; more; more = p.accept(",") {
		if p.tok.kind == unquotedName && upper(p.tok.text) == "ARRAY" {
			p.fail(errNested())
			break
		}
		v := p.value()
		if v.GetArrayValue() != nil {
			p.fail(errNested())
		}
		a.Values = append(a.Values, v)
	}
	return a
}

func errNested() error {
	return invalid("list_value cannot contain a Value containing another list_value.")
}

// key = {dimension "(" text ")" ","} element {"," element}. Without dimensions
// the key belongs to the partition of the request; with any of them, a missing
// namespace is the default one.
func (p *parser) key() *pb.Key {
	id := &pb.PartitionId{}
	given := map[string]bool{}
	for p.tok.kind == unquotedName && p.peek().is("(") {
		dimension := upper(p.tok.text)
		switch {
		case dimension != "PROJECT" && dimension != "DATABASE" && dimension != "NAMESPACE":
			p.fail(invalid("Unknown partition dimension \"%s\".", p.tok.image))
		case given[dimension]:
			p.fail(invalid("A key may have at most one %s.", strings.ToLower(dimension)))
		case dimension == "PROJECT" && given["NAMESPACE"]:
			p.fail(invalid("A key's project must precede its namespace."))
		}
		given[dimension] = true
		p.next()
		p.expect("(")
		switch text := p.text(); dimension {
		case "PROJECT":
			id.ProjectId = text
		case "DATABASE":
			id.DatabaseId = text
		case "NAMESPACE":
			id.NamespaceId = text
		}
		p.expect(")")
		p.expect(",")
	}
	if len(given) == 0 {
		id.NamespaceId = p.partition.GetNamespaceId()
	}
	if id.ProjectId == "" {
		id.ProjectId = p.partition.GetProjectId()
	}
	if id.DatabaseId == "" {
		id.DatabaseId = p.partition.GetDatabaseId()
	}
	k := &pb.Key{PartitionId: id}
	for more := true; more; more = p.accept(",") {
		k.Path = append(k.Path, p.keyElement())
	}
	return k
}

// keyElement = name "," (integer | text). The reference wants integers above
// 0; Google's emulators take negative ones.
func (p *parser) keyElement() *pb.Key_PathElement {
	e := &pb.Key_PathElement{Kind: p.name("The kind", "the name of a kind")}
	p.expect(",")
	switch p.tok.kind {
	case integer:
		id := p.integer()
		switch {
		case p.err != nil:
		case id == 0:
			p.fail(invalid("Key path id is invalid. Must not be zero."))
		case id < 0:
			p.fail(invalid("Key path id is invalid. Must be greater than zero in GQL: %d.", id))
		}
		e.IdType = &pb.Key_PathElement_Id{Id: id}
	case singleQuoted, doubleQuoted:
		name := p.next().text
		if name == "" {
			p.fail(invalid("The key path element name is the empty string."))
		}
		e.IdType = &pb.Key_PathElement_Name{Name: name}
	default:
		p.unexpected("an integer", "a string")
	}
	return e
}

// parseBlob reads base64 with the alphabet of URLs and without padding.
func parseBlob(text string) ([]byte, error) {
	blob, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, invalid("Invalid blob text: \"%s\".", text)
	}
	return blob, nil
}

var datetime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-](\d\d:\d\d))$`)

// parseTime reads RFC 3339 with microseconds at most, no leap seconds, and Z as
// the only zero offset.
func parseTime(text string) (*timestamppb.Timestamp, error) {
	refused := func(why string) (*timestamppb.Timestamp, error) {
		return nil, invalid("Invalid datetime text (%s): \"%s\"", why, text)
	}
	m := datetime.FindStringSubmatch(text)
	if m == nil {
		return refused("does not match pattern")
	}
	if offset := m[1]; offset == "00:00" {
		return refused("zero offset must be Z")
	} else if _, err := time.Parse("15:04", offset); offset != "" && err != nil {
		return refused("parse failure")
	}
	t, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	if err != nil || t.Year() < 1 || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return refused("parse failure")
	}
	return timestamppb.New(t), nil
}
