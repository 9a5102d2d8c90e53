package gql

import (
	"errors"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
	"google.golang.org/protobuf/proto"
)

// maxSize bounds what the bound values of a query sum up to, each as often as
// it is named: it is how large a request can be.
const maxSize = 10 << 20

// bindings are the parameters of a query.
type bindings struct {
	named      map[string]*pb.GqlQueryParameter
	positional []*pb.GqlQueryParameter
	used       []bool // of the positional ones
	size       int    // of the values handed out
}

var (
	bindingName  = regexp.MustCompile(`^[A-Za-z_$][A-Za-z_$0-9]*$`)
	reservedName = regexp.MustCompile(`^__.*__$`)
)

func newBindings(q *pb.GqlQuery) (*bindings, error) {
	b := &bindings{named: q.GetNamedBindings(), positional: q.GetPositionalBindings()}
	b.used = make([]bool, len(b.positional))
	for _, name := range slices.Sorted(maps.Keys(b.named)) {
		switch {
		case name == "":
			return nil, invalid("The GQL query parameter name is the empty string.")
		case !bindingName.MatchString(name):
			return nil, invalid("GQL query parameter name %q contains an invalid character.", name)
		case reservedName.MatchString(name):
			return nil, invalid("The GQL query parameter name %q is reserved.", name)
		}
		if isEmpty(b.named[name]) {
			return nil, invalid("A GQL query parameter is empty.")
		}
	}
	if slices.ContainsFunc(b.positional, isEmpty) {
		return nil, invalid("A GQL query parameter is empty.")
	}
	return b, nil
}

func isEmpty(p *pb.GqlQueryParameter) bool {
	switch t := p.GetParameterType().(type) {
	case *pb.GqlQueryParameter_Value:
		return t.Value == nil
	case *pb.GqlQueryParameter_Cursor:
		return false
	}
	return true
}

// at returns the parameter of a binding site.
func (b *bindings) at(site token) (*pb.GqlQueryParameter, error) {
	name := site.image[len("@"):]
	if site.kind == namedSite {
		p, ok := b.named[name]
		if !ok {
			return nil, invalid("Absent named binding: %s.", name)
		}
		return p, nil
	}
	switch n, err := strconv.Atoi(name); {
	case err != nil:
		return nil, invalid("Invalid positional binding site: For input string: \"%s\"", name)
	case n == 0:
		return nil, invalid("Invalid binding site %s.", site.image)
	case n > len(b.positional):
		return nil, invalid("Absent positional binding: %d.", n)
	default:
		b.used[n-1] = true
		return b.positional[n-1], nil
	}
}

// value returns the value of a binding site.
func (b *bindings) value(site token) (*pb.Value, error) {
	p, err := b.at(site)
	if err != nil {
		return nil, err
	}
	if p.GetValue() == nil {
		return nil, invalid("Binding site %s for value bound to non-value parameter.", site.image)
	}
	if b.size += proto.Size(p.GetValue()); b.size > maxSize {
		return nil, invalid("The bound values of the query sum up to more than %d bytes.", maxSize)
	}
	return p.GetValue(), nil
}

// unused says which positional parameter was not named, if any.
func (b *bindings) unused() error {
	if i := slices.Index(b.used, false); i >= 0 {
		return invalid("Unused positional binding: %d.", i+1)
	}
	return nil
}

// resultPosition is an operand of LIMIT or OFFSET: a count or a cursor.
type resultPosition struct {
	site     token // the binding site or the literal
	isCursor bool
	cursor   []byte
	count    int32
}

// position resolves a result position of the given clause ("limit", "offset").
func (b *bindings) position(site token, clause string) (resultPosition, error) {
	pos := resultPosition{site: site}
	if site.kind == integer {
		n, err := parseInteger(site)
		if err != nil {
			return pos, err
		}
		pos.count, err = checkCount(n, clause)
		return pos, err
	}
	p, err := b.at(site)
	if err != nil {
		return pos, err
	}
	if c, ok := p.GetParameterType().(*pb.GqlQueryParameter_Cursor); ok {
		pos.isCursor, pos.cursor = true, c.Cursor
		return pos, nil
	}
	n, ok := p.GetValue().GetValueType().(*pb.Value_IntegerValue)
	if !ok {
		return pos, invalid("Binding site %s for %s bound to non-integer value parameter.", site.image, clause)
	}
	pos.count, err = checkCount(n.IntegerValue, clause)
	return pos, err
}

func checkCount(n int64, clause string) (int32, error) {
	switch {
	case n < 0:
		return 0, invalid("The %s %d is < 0.", clause, n)
	case n > math.MaxInt32:
		return 0, invalid("The %s %d is too large.", clause, n)
	}
	return int32(n), nil
}

func parseInteger(t token) (int64, error) {
	n, err := strconv.ParseInt(t.image, 10, 64)
	if err != nil {
		return 0, invalid("Invalid integer literal: For input string: \"%s\"", t.image)
	}
	return n, nil
}

// parseDouble refuses what has no digits where they belong and, as the
// reference says and Google's emulators don't, what overflows.
func parseDouble(t token) (float64, error) {
	f, err := strconv.ParseFloat(t.image, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, invalid("Invalid double literal: \"%s\" is not representable", t.image)
	case err != nil:
		return 0, invalid("Invalid double literal: For input string: \"%s\"", texts.Quote(t.image))
	}
	return f, nil
}
