package planning_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func integers(n int) *pb.Value {
	var values []*pb.Value
	for i := range n {
		values = append(values, integer(i))
	}
	return list(values...)
}

func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("p%d", i))
	}
	return all
}

func each(op pb.CompositeFilter_Operator, n int, f func(i int) *pb.Filter) *pb.Filter {
	var all []*pb.Filter
	for i := range n {
		all = append(all, f(i))
	}
	return composite(op, all...)
}

func orders(names ...string) (all []*pb.PropertyOrder) {
	for _, name := range names {
		o := &pb.PropertyOrder{Property: &pb.PropertyReference{Name: strings.TrimPrefix(name, "-")}, Direction: pb.PropertyOrder_ASCENDING}
		if strings.HasPrefix(name, "-") {
			o.Direction = pb.PropertyOrder_DESCENDING
		}
		all = append(all, o)
	}
	return all
}

func projections(names ...string) (all []*pb.Projection) {
	for _, name := range names {
		all = append(all, &pb.Projection{Property: &pb.PropertyReference{Name: name}})
	}
	return all
}

func groups(names ...string) (all []*pb.PropertyReference) {
	for _, name := range names {
		all = append(all, &pb.PropertyReference{Name: name})
	}
	return all
}

// TestRefused: the rules of the query language in the words of Google's
// emulator; ours begin with a small letter and have no full stop.
func TestRefused(t *testing.T) {
	const eq, lt, in, notIn, ne = pb.PropertyFilter_EQUAL, pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_IN, pb.PropertyFilter_NOT_IN, pb.PropertyFilter_NOT_EQUAL
	const and, or = pb.CompositeFilter_AND, pb.CompositeFilter_OR
	one := property("p", eq, integer(1))
	ancestor := func(id int) *pb.Filter {
		return property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(parent(id)))
	}
	elsewhere := parent(1)
	elsewhere.PartitionId.NamespaceId = "other"
	unindexed := integer(1)
	unindexed.ExcludeFromIndexes = true
	entity := &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{}}}
	for _, c := range []struct {
		q    *pb.Query
		text string
	}{
		{&pb.Query{Filter: &pb.Filter{}}, "a filter must have exactly one of its fields set"},
		{&pb.Query{Filter: composite(and)}, "A composite filter must have at least one sub-filter."},
		{&pb.Query{Filter: composite(0, one)}, "a composite filter must specify an operator"},
		{&pb.Query{Filter: composite(7, one)}, "Unsupported CompositeFilter operator."},
		{&pb.Query{Filter: property("p", 0, integer(1))}, "a property filter must specify an operator"},
		{&pb.Query{Filter: property("p", 99, integer(1))}, "unknown filter operator 99"},
		{&pb.Query{Filter: property("", eq, integer(1))}, "The property.name is the empty string."},
		{&pb.Query{Filter: property(strings.Repeat("x", 1501), eq, integer(1))}, "The property.name is longer than 1500 bytes."},
		{&pb.Query{Filter: property("p", eq, nil)}, `The value "p" does not contain a value.`},
		{&pb.Query{Filter: property("p", eq, list(integer(1)))}, "A list value is not allowed"},
		{&pb.Query{Filter: property("p", eq, entity)}, "An entity value is not allowed"},
		{&pb.Query{Filter: property("p", eq, unindexed)}, "a filter value must be indexed"},
		{&pb.Query{Filter: property("p", eq, text(strings.Repeat("x", 1501)))}, `The value of property "p" is longer than 1500 bytes.`},
		{&pb.Query{Filter: property("p", in, integer(1))}, "IN requires an ArrayValue."},
		{&pb.Query{Filter: property("p", in, list())}, "IN requires an non-empty ArrayValue."},
		{&pb.Query{Filter: property("p", in, list(list()))}, "list_value cannot contain a Value containing another list_value."},
		{&pb.Query{Filter: property("p", in, list(&pb.Value{}))}, `The value "p" does not contain a value.`},
		{&pb.Query{Filter: property("p", in, integers(31))}, "IN supports up to 30 values. There are 31 values in the IN filter in your query."},
		{&pb.Query{Filter: property("p", notIn, integers(11))}, "NOT_IN supports up to 10 values."},
		{&pb.Query{Filter: property("p", notIn, list())}, "NOT_IN requires an non-empty ArrayValue."},
		{&pb.Query{Filter: composite(and, property("p", ne, integer(1)), property("q", notIn, integers(1)))}, "Only a single 'NOT_EQUAL' or 'NOT_IN' is allowed per query."},
		{&pb.Query{Filter: composite(and, property("p", notIn, integers(1)), property("q", in, integers(1)))}, "'NOT_IN' cannot be used in the same query with 'IN' or 'OR'."},
		{&pb.Query{Filter: composite(and, property("p", notIn, integers(1)), composite(or, one))}, "'NOT_IN' cannot be used in the same query with 'IN' or 'OR'."},
		{&pb.Query{Filter: composite(and, property("p", in, integers(16)), property("q", in, integers(2)))}, "Too many disjunctions after normalization. Result had 32 disjunctions which is more than the maximum of 30"},
		{&pb.Query{Filter: each(and, 20, func(i int) *pb.Filter { return property(names(20)[i], in, integers(30)) })}, "Too many disjunctions after normalization, the maximum is 30"},
		{&pb.Query{Filter: each(and, 101, func(i int) *pb.Filter { return property(names(101)[i], eq, integer(1)) })}, "The query may not have more than 100 filters + sort orders + ancestor total. Currently there are 101 filters, 0 sort orders, and no ancestor filter."},
		{&pb.Query{Order: orders(names(101)...)}, "The query may not have more than 100 filters + sort orders + ancestor total. Currently there are 0 filters, 101 sort orders, and no ancestor filter."},
		{&pb.Query{Filter: each(and, 11, func(i int) *pb.Filter { return property(names(11)[i], lt, integer(1)) })}, "The query contains 11 distinct inequality fields: [p0, p1, p10, p2, p3, p4, p5, p6, p7, p8, p9]. A query may not have more than 10 distinct inequality fields."},
		{&pb.Query{Filter: composite(and, ancestor(1), ancestor(2))}, "All disjunctions must have a common and unique ancestor constraint."},
		{&pb.Query{Filter: composite(or, ancestor(1), one)}, "All disjunctions must have a common and unique ancestor constraint."},
		{&pb.Query{Filter: composite(or, composite(and, one, ancestor(1)), ancestor(2))}, "All disjunctions must have a common and unique ancestor constraint."},
		{&pb.Query{Filter: property("__key__", in, integers(1))}, "__key__ filter value must be a Key"},
		{&pb.Query{Filter: property("__key__", eq, keyValue(elsewhere))}, "The query namespace is 'n' but __key__ filter namespace is 'other'."},
		{&pb.Query{Filter: property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(elsewhere))}, "The query namespace is 'n' but ancestor namespace is 'other'."},
		{&pb.Query{Order: orders("p", "p")}, "order by clause cannot contain duplicate fields p"},
		{&pb.Query{Order: []*pb.PropertyOrder{{Property: &pb.PropertyReference{Name: "p"}, Direction: 9}}}, "unknown order direction 9"},
		{&pb.Query{Projection: projections("p", "p")}, "Cannot project a property multiple times."},
		{&pb.Query{Projection: projections("__p__")}, "projections are not supported for the property: __p__"},
		{&pb.Query{Projection: projections(names(5001)...)}, "a query projects, and groups by, at most 5000 properties"},
		{&pb.Query{Projection: projections("p"), Filter: property("p", in, integers(2))}, "Cannot use projection on a property with an equality filter."},
		{&pb.Query{DistinctOn: groups("p"), Filter: one}, "Cannot use group by on a property with an equality filter."},
		{&pb.Query{DistinctOn: groups("p", "p")}, "Cannot group by a property multiple times."},
		{&pb.Query{DistinctOn: groups("__key__")}, "Group by is not supported for the property: __key__"},
		{&pb.Query{DistinctOn: groups("p"), Order: orders("q", "p")}, "All group by properties must be ordered before any non group by properties."},
		{&pb.Query{DistinctOn: groups("p", "q"), Order: orders("q", "__key__")}, "All group by properties must be ordered before any non group by properties."},
		{&pb.Query{Kind: []*pb.KindExpression{{Name: strings.Repeat("x", 1501)}}}, "The kind is longer than 1500 bytes."},
		{&pb.Query{Limit: wrapperspb.Int32(-1)}, "Limit must be non-negative."},
	} {
		if c.q.Kind == nil {
			c.q.Kind = []*pb.KindExpression{{Name: "A"}}
		}
		if _, err := parse(c.q); err == nil || err.Error() != c.text {
			t.Errorf("%.200v: %v; want %q", c.q, err, c.text)
		}
	}
	for text, q := range map[string]*pb.Query{
		"kind is required for filter: p":                           {Filter: composite(or, ancestor(1), one)},
		"kind is required for all orders except __key__ ascending": {Order: orders("__key__", "p"), Filter: one},
		"kind is required for projection: p":                       {Projection: projections("p")},
	} {
		if _, err := parse(q); err == nil || err.Error() != text {
			t.Errorf("%v: %v; want %q", q, err, text)
		}
	}
}

// TestAccepted: what comes close to the bounds.
func TestAccepted(t *testing.T) {
	const eq, in, or, and = pb.PropertyFilter_EQUAL, pb.PropertyFilter_IN, pb.CompositeFilter_OR, pb.CompositeFilter_AND
	nested := property("p", eq, integer(1))
	for range 60 {
		nested = composite(and, nested)
	}
	for name, q := range map[string]*pb.Query{
		"thirty disjuncts":          {Filter: composite(and, property("p", in, integers(15)), property("q", in, integers(2)))},
		"one, many times":           {Filter: each(or, 500, func(int) *pb.Filter { return property("p", eq, integer(1)) })},
		"overlapping lists":         {Filter: composite(or, property("p", in, integers(30)), property("p", in, integers(20)))},
		"an entity in a list":       {Filter: property("p", in, list(&pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{}}}))},
		"the same ancestor, twice":  {Filter: composite(and, property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(parent(1))), property("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(parent(1))))},
		"deep":                      {Filter: nested},
		"many projections":          {Projection: projections(names(5000)...)},
		"__key__ among projections": {Projection: projections("__key__", "p", "__key__")},
	} {
		q.Kind = []*pb.KindExpression{{Name: "A"}}
		if _, err := parse(q); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCursorsOfManyColumns: what a cursor claims to have costs nothing.
func TestCursorsOfManyColumns(t *testing.T) {
	const claimed = 1 << 20
	b := append(binary.AppendUvarint([]byte{2, 0}, claimed), make([]byte, 3*claimed)...)
	q := &pb.Query{Kind: []*pb.KindExpression{{Name: "K"}}, StartCursor: b}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := planning.Parse(&pb.PartitionId{ProjectId: "p"}, q, nil, nil)
	runtime.ReadMemStats(&after)
	if err == nil || err.Error() != "Error parsing protocol message" {
		t.Errorf("got %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > claimed {
		t.Errorf("%d bytes were allocated", n)
	}
}

// FuzzCursor: a cursor is read or refused; what is read means one place, which
// written and read again it still does.
func FuzzCursor(f *testing.F) {
	row := string(encoding.AppendPath(nil, parent(3)))
	for _, q := range cursorQueries() {
		f.Add(planning.CursorAt(q, row, "\x10\x80\x00\x00\x00\x00\x00\x00\x07", "\x05"))
	}
	f.Add(planning.StartCursor())
	f.Add([]byte{2, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, q := range cursorQueries() {
			q.StartCursor = b
			parsed, err := parse(q)
			if err != nil {
				continue
			}
			again, ok := parsed.StartAgain()
			if !ok {
				continue
			}
			q.StartCursor = again
			reread, err := parse(q)
			if err != nil {
				t.Fatalf("%x was read, its own form %x was not: %v", b, again, err)
			}
			if twice, _ := reread.StartAgain(); !slices.Equal(twice, again) {
				t.Fatalf("%x became %x and then %x", b, again, twice)
			}
		}
	})
}

func cursorQueries() []*pb.Query {
	kind := []*pb.KindExpression{{Name: "Parent"}}
	return []*pb.Query{
		{},
		{Kind: kind, Order: orders("-__key__")},
		{Kind: kind, Order: orders("p", "-q")},
		{Kind: kind, Order: orders("-q", "__key__", "p")},
	}
}

// TestSameFilters: filters that say the same are one, as for Google's emulator:
// multiplied out they would be too many, and take minutes.
func TestSameFilters(t *testing.T) {
	const eq, in, and, or = pb.PropertyFilter_EQUAL, pb.PropertyFilter_IN, pb.CompositeFilter_AND, pb.CompositeFilter_OR
	eight := property("p", in, integers(8))
	reversed := each(or, 8, func(i int) *pb.Filter { return property("p", eq, integer(7-i)) })
	other := func(name string) *pb.Filter { return property(name, eq, integer(1)) }
	for _, f := range []*pb.Filter{
		composite(and, eight, eight),
		composite(and, eight, reversed),
		composite(and, composite(and, eight, other("q")), composite(and, reversed, other("r"))),
		each(and, 5_000, func(int) *pb.Filter { return eight }),
		each(or, 5_000, func(int) *pb.Filter { return composite(and, eight, other("q")) }),
	} {
		q, err := parse(&pb.Query{Kind: []*pb.KindExpression{{Name: "A"}}, Filter: f})
		if err != nil || q.Disjuncts() != 8 {
			t.Errorf("%.200v: %v; want 8 disjuncts", f, err)
		}
	}
	if _, err := parse(&pb.Query{Kind: []*pb.KindExpression{{Name: "A"}},
		Filter: composite(and, eight, property("p", in, integers(9)))}); err == nil {
		t.Error("8 values and 9 values are too many disjunctions for Google, though most say the same")
	}
}
