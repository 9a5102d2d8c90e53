package datastore_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"
)

// measured is what the entities of the test below hold: N is a number, a text,
// several of them, or not there at all.
type measured struct {
	Group int
	N     []any
}

func (m *measured) Save() ([]ds.Property, error) {
	props := []ds.Property{{Name: "Group", Value: int64(m.Group)}}
	switch len(m.N) {
	case 0:
	case 1:
		props = append(props, ds.Property{Name: "N", Value: m.N[0]})
	default:
		props = append(props, ds.Property{Name: "N", Value: m.N})
	}
	return props, nil
}

func (m *measured) Load([]ds.Property) error { return nil }

// ranked is a value of N as an index has it: integers before texts before
// doubles, each in order.
type ranked struct {
	rank   int
	number float64
	text   string
	key    int64
}

// TestAggregationsLikeAModel: COUNT, SUM and AVG are those of the rows that an
// index of the property has, in whatever part of them a query asks for.
func TestAggregationsLikeAModel(t *testing.T) {
	c := start(t, nil).client()
	ctx := t.Context()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		kind := fmt.Sprintf("K%d", n)
		var keys []*ds.Key
		var all []*measured
		var rows []ranked
		group := rapid.IntRange(-1, 1).Draw(r, "group asked for")
		for id := range int64(rapid.IntRange(1, 8).Draw(r, "entities")) {
			m := &measured{Group: rapid.IntRange(0, 1).Draw(r, "group")}
			seen := map[ranked]bool{}
			for range rapid.IntRange(0, 3).Draw(r, "values") {
				row := ranked{rank: rapid.IntRange(0, 2).Draw(r, "type"), key: id}
				switch row.rank {
				case 0:
					row.number = float64(rapid.IntRange(-3, 3).Draw(r, "int"))
					m.N = append(m.N, int64(row.number))
				case 1:
					row.text = rapid.SampledFrom([]string{"", "x"}).Draw(r, "text")
					m.N = append(m.N, row.text)
				case 2:
					row.number = rapid.SampledFrom([]float64{-1.5, 0.25, 2, math.Inf(1)}).Draw(r, "double")
					m.N = append(m.N, row.number)
				}
				if !seen[row] && (group < 0 || m.Group == group) {
					rows = append(rows, row)
				}
				seen[row] = true
			}
			keys, all = append(keys, ds.IDKey(kind, id+1, nil)), append(all, m)
		}
		if _, err := c.PutMulti(ctx, keys, all); err != nil {
			r.Fatal(err)
		}
		slices.SortFunc(rows, func(a, b ranked) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.number, b.number), cmp.Compare(a.text, b.text), cmp.Compare(a.key, b.key))
		})
		q := ds.NewQuery(kind)
		if group >= 0 {
			q = q.FilterField("Group", "=", group)
		}
		if rapid.Bool().Draw(r, "descending") {
			q = q.Order("-N")
			slices.Reverse(rows)
		}
		offset := rapid.IntRange(0, 3).Draw(r, "offset")
		q = q.Offset(offset)
		rows = rows[min(offset, len(rows)):]
		if limit := rapid.IntRange(-1, 4).Draw(r, "limit"); limit >= 0 {
			q = q.Limit(limit)
			rows = rows[:min(limit, len(rows))]
		}

		want := map[string]*pb.Value{"count": integer(int64(len(rows)))}
		sum, numbers, exact := 0.0, 0, true
		for _, row := range rows {
			if row.rank != 1 {
				sum += row.number
				numbers++
				exact = exact && row.rank == 0
			}
		}
		double := func(f float64) *pb.Value { return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: f}} }
		want["sum"], want["avg"] = double(sum), double(sum/float64(numbers))
		if exact {
			want["sum"] = integer(int64(sum))
		}
		if numbers == 0 {
			want["avg"] = &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
		}
		sameAggregates(r, c, q.NewAggregationQuery().WithCount("count").WithSum("N", "sum").WithAvg("N", "avg"), want)

		// In a transaction the answer is the same, and COUNT alone counts entities.
		_, err := c.RunInTransaction(ctx, func(tx *ds.Transaction) error {
			sameAggregates(r, c, q.Transaction(tx).NewAggregationQuery().WithSum("N", "sum"), map[string]*pb.Value{"sum": want["sum"]})
			return nil
		}, ds.ReadOnly)
		if err != nil {
			r.Fatal(err)
		}
		keysFound, err := c.GetAll(ctx, q.KeysOnly(), nil)
		if err != nil {
			r.Fatal(err)
		}
		sameAggregates(r, c, q.NewAggregationQuery().WithCount("alone"), map[string]*pb.Value{"alone": integer(int64(len(keysFound)))})
	})
}

// TestAggregationsOfAlternatives: what lacks the property, as one side of an OR
// lets it, is no result, and doesn't count against offset and limit either.
func TestAggregationsOfAlternatives(t *testing.T) {
	c := start(t, nil).client()
	for name, m := range map[string]ds.PropertyList{
		"a": {{Name: "q", Value: int64(1)}},
		"b": {{Name: "q", Value: int64(2)}},
		"c": {{Name: "q", Value: int64(3)}, {Name: "p", Value: int64(5)}},
		"d": {{Name: "q", Value: int64(4)}, {Name: "p", Value: int64(7)}},
		"e": {{Name: "q", Value: int64(0)}, {Name: "p", Value: int64(7)}},
	} {
		if _, err := c.Put(t.Context(), ds.NameKey("K", name, nil), &m); err != nil {
			t.Fatal(err)
		}
	}
	q := ds.NewQuery("K").Order("q").FilterEntity(ds.OrFilter{Filters: []ds.EntityFilter{
		ds.PropertyFilter{FieldName: "q", Operator: ">", Value: 0},
		ds.PropertyFilter{FieldName: "p", Operator: "=", Value: 7},
	}})
	for _, tt := range []struct {
		q         *ds.Query
		n, sumOfP int64
	}{
		{q, 3, 19},
		{q.Offset(1), 2, 12},
		{q.Limit(2), 2, 12},
		{q.Offset(1).Limit(1), 1, 5},
		{q.Offset(3), 0, 0},
	} {
		got, err := c.RunAggregationQuery(t.Context(), tt.q.NewAggregationQuery().WithCount("n").WithSum("p", "sum"))
		if err != nil {
			t.Fatal(err)
		}
		if n, sum := number(got["n"].(*pb.Value)), number(got["sum"].(*pb.Value)); n != tt.n || sum != tt.sumOfP {
			t.Errorf("%+v: %v results, sum %v; want %d, %d", tt.q, n, sum, tt.n, tt.sumOfP)
		}
	}
}

func sameAggregates(r *rapid.T, c *ds.Client, q *ds.AggregationQuery, want map[string]*pb.Value) {
	result, err := c.RunAggregationQuery(context.Background(), q)
	if err != nil {
		r.Fatal(err)
	}
	got, wanted := map[string]any{}, map[string]any{}
	for name, v := range result {
		got[name] = number(v.(*pb.Value))
	}
	for name, v := range want {
		wanted[name] = number(v)
	}
	if diff := gocmp.Diff(wanted, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		r.Fatalf("aggregates (-want +got):\n%s", diff)
	}
}

func number(v *pb.Value) any {
	switch x := v.GetValueType().(type) {
	case *pb.Value_IntegerValue:
		return x.IntegerValue
	case *pb.Value_DoubleValue:
		return x.DoubleValue
	}
	return nil
}
