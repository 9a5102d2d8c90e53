package transcode

import (
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A query is the parameters of a request that are fields of its message, and
// what the others say.
type query struct {
	fields       []parameter
	format       format
	compactAsked bool // prettyPrint=false
}

// A parameter and its values, in the order of the query.
type parameter struct {
	name   string
	values []string
}

// format is how an answer is written.
type format int

const (
	unspecified format = iota
	jsonNames          // enums by name
	jsonNumbers        // enums by number
	binary
)

// parseQuery reads the parameters. net/url's parser refuses semicolons, which
// clients send in $alt=json;enum-encoding=int.
func parseQuery(raw string) (q query, err error) {
	index := map[string]int{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if name, err = url.QueryUnescape(name); err != nil {
			return q, invalid("Malformed query parameter %s.", quote(pair))
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return q, invalid("Malformed query parameter %s.", quote(pair))
		}
		isField, err := q.system(name, value)
		if err != nil {
			return q, err
		}
		if !isField {
			continue
		}
		i, known := index[name]
		if !known {
			i = len(q.fields)
			index[name] = i
			q.fields = append(q.fields, parameter{name: name})
		}
		q.fields[i].values = append(q.fields[i].values, value)
	}
	return q, nil
}

// system obeys a parameter that every method of Google's APIs has, or reports
// that it is a field's.
func (q *query) system(name, value string) (isField bool, err error) {
	switch strings.TrimPrefix(name, "$") {
	case "alt":
		switch strings.ReplaceAll(value, " ", "") {
		case "json":
			q.format = jsonNames
		case "json;enum-encoding=int":
			q.format = jsonNumbers
		case "proto":
			q.format = binary
		default:
			return false, invalid("Invalid value at 'alt', %s: must be json, json;enum-encoding=int or proto.", quote(value))
		}
	case "prettyPrint":
		switch value {
		case "true", "1":
			q.compactAsked = false
		case "false", "0":
			q.compactAsked = true
		default:
			return false, invalid("Invalid value at 'prettyPrint' (TYPE_BOOL), %s", quote(value))
		}
	case "fields":
		return false, errPartial
	case "callback":
		return false, status.Error(codes.Unimplemented, "JSONP (the parameter callback) is not supported by this emulator.")
	case "key", "access_token", "oauth_token", "quotaUser", "userProject", "userIp", "upload_protocol", "uploadType",
		"trace", "apiClient", ".xgafv", "unique":
		// Credentials, quotas and uploads have no part here.
	default:
		return true, nil
	}
	return false, nil
}

var errPartial = status.Error(codes.Unimplemented, "Partial answers (the parameter $fields, the header X-Goog-FieldMask) are not supported by this emulator.")

// apply sets the fields that a query names. body is the route's: what it covers
// is not bound by the query.
func (q query) apply(m protoreflect.Message, body string) error {
	for _, p := range q.fields {
		unknown := func(rule string) error {
			return badRequest("", fmt.Sprintf("Invalid JSON payload received. Unknown name %s: Cannot bind query parameter. %s", quote(p.name), rule))
		}
		f, err := resolve(m.Descriptor(), p.name)
		if err == nil && (body == "*" || body == string(f[0].Name())) {
			return unknown("The body holds the field.")
		}
		if err != nil {
			return unknown(fmt.Sprintf("Field '%s' could not be found in request message.", bound(p.name)))
		}
		if err := f.bindable(); err != nil {
			return unknown(fmt.Sprintf("'%s' is a message type. Parameters can only be bound to primitive types.", bound(p.name)))
		}
		if err := f.set(m, p.values); err != nil {
			return err
		}
	}
	return nil
}
