package properties

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"
)

func TestParsePath(t *testing.T) {
	for s, want := range map[string]Path{
		"a":                            {"a"},
		"a.b.c":                        {"a", "b", "c"},
		"größe.with-it":                {"größe", "with-it"},
		"`a.b`.c":                      {"a.b", "c"},
		"`a\\`b`":                      {"a`b"},
		`a\.b.c\\d`:                    {"a.b", `c\d`},
		"":                             nil,
		".":                            nil,
		"a.":                           nil,
		".a":                           nil,
		"a..b":                         nil,
		`a\`:                           nil,
		`a\b`:                          nil,
		"``":                           nil,
		"`a":                           nil,
		"`a`b":                         nil,
		"a`b":                          nil,
		"`a`.":                         nil,
		strings.Repeat("x", 1501):      nil,
		strings.Repeat("x.", 21):       nil,
		"a" + strings.Repeat(".a", 21): nil,
	} {
		got, err := ParsePath(s)
		if (err == nil) != (want != nil) || !slices.Equal(got, want) {
			t.Errorf("%.40q: %q, %v; want %q", s, got, err, want)
		}
	}
}

// FuzzParsePath: whatever a path parses into comes back from both ways to escape it.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"a", "a.b", "`a.b`.c", `a\.b`, `a\`, "``", "`a\\`b`.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, err := ParsePath(s)
		if err != nil {
			return
		}
		var quoted, escaped []string
		for _, name := range path {
			quoted = append(quoted, "`"+strings.NewReplacer("`", "\\`", `\`, `\\`).Replace(name)+"`")
			escaped = append(escaped, strings.NewReplacer("`", "\\`", `\`, `\\`, ".", `\.`).Replace(name))
		}
		for _, names := range [][]string{quoted, escaped} {
			again, err := ParsePath(strings.Join(names, "."))
			if err != nil || !slices.Equal(path, again) {
				t.Errorf("%q is %q; escaped %q, and then %q, %v", s, path, names, again, err)
			}
		}
	})
}

func integer(i int64) *pb.Value { return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: i}} }

func value(vs []*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: vs}}}
}

func float(f float64) *pb.Value { return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: f}} }

func number() *rapid.Generator[*pb.Value] {
	return rapid.OneOf(
		rapid.Map(rapid.Int64(), integer),
		rapid.Map(rapid.Int64Range(-3, 3), integer),
		rapid.Map(rapid.Int64Range(1<<53-3, 1<<53+3), integer),
		rapid.Map(rapid.Float64(), float),
		rapid.Map(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -1, 2.5, 1 << 53, 1<<53 + 2, 1 << 63, -1 << 63, math.Inf(1), math.Inf(-1), math.NaN()}), float))
}

// exact is the number, ±Inf beyond every other one; nil is NaN.
func exact(v *pb.Value) *big.Float {
	if i, ok := v.GetValueType().(*pb.Value_IntegerValue); ok {
		return new(big.Float).SetPrec(128).SetInt64(i.IntegerValue)
	}
	if math.IsNaN(v.GetDoubleValue()) {
		return nil
	}
	return new(big.Float).SetPrec(128).SetFloat64(v.GetDoubleValue())
}

func transform(t *rapid.T, op *pb.PropertyTransform, stored *pb.Value) *pb.Value {
	op.Property = "p"
	tr, err := NewTransform(op)
	if err != nil {
		t.Fatal(err)
	}
	e := &pb.Entity{}
	if stored != nil {
		e.Properties = map[string]*pb.Value{"p": stored}
	}
	b := MaxWork
	result, err := tr.Apply(e, 0, &b)
	if err != nil {
		t.Fatal(err)
	}
	if !tr.takesNumber() {
		if _, ok := result.GetValueType().(*pb.Value_NullValue); !ok {
			t.Errorf("the result is %v; want null", result)
		}
	} else if result != e.Properties["p"] {
		t.Errorf("the result is %v; the property %v", result, e.Properties["p"])
	}
	return e.Properties["p"]
}

// TestNumbers compares the transforms of numbers with arithmetic that is exact.
func TestNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stored, given := number().Draw(t, "stored"), number().Draw(t, "given")
		a, b := exact(stored), exact(given)

		for _, sign := range []int{1, -1} {
			op := &pb.PropertyTransform{TransformType: &pb.PropertyTransform_Maximum{Maximum: given}}
			if sign < 0 {
				op = &pb.PropertyTransform{TransformType: &pb.PropertyTransform_Minimum{Minimum: given}}
			}
			want := stored
			if a != nil && (b == nil || sign*b.Cmp(a) > 0) {
				want = given
			}
			if got := transform(t, op, stored); got != want {
				t.Errorf("%v of %v and %v: got %v; want %v", op, stored, given, got, want)
			}
		}

		got := transform(t, &pb.PropertyTransform{TransformType: &pb.PropertyTransform_Increment{Increment: given}}, stored)
		want := float(double(stored) + double(given))
		_, aInt := stored.GetValueType().(*pb.Value_IntegerValue)
		if _, bInt := given.GetValueType().(*pb.Value_IntegerValue); aInt && bInt {
			sum, _ := new(big.Float).Add(a, b).Int64() // stops at the ends
			want = integer(sum)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%v + %v (-want +got):\n%s", stored, given, diff)
		}
	})
}

// equivalent is the API's description of equal elements, element by element.
func equivalent(a, b *pb.Value) bool {
	switch x := a.GetValueType().(type) {
	case *pb.Value_IntegerValue, *pb.Value_DoubleValue:
		if !isNumber(b) {
			return false
		}
		n, m := exact(a), exact(b)
		if n == nil || m == nil {
			return n == m
		}
		return n.Cmp(m) == 0
	case *pb.Value_EntityValue:
		y, ok := b.GetValueType().(*pb.Value_EntityValue)
		if !ok || len(x.EntityValue.GetProperties()) != len(y.EntityValue.GetProperties()) {
			return false
		}
		for name, v := range x.EntityValue.GetProperties() {
			if w := y.EntityValue.GetProperties()[name]; w == nil || !equivalent(v, w) {
				return false
			}
		}
		return true
	}
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.ExcludeFromIndexes, b.ExcludeFromIndexes = false, false
	return proto.Equal(a, b)
}

func element() *rapid.Generator[*pb.Value] {
	simple := rapid.OneOf(number(), rapid.Custom(func(t *rapid.T) *pb.Value {
		s := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "s")
		return rapid.SampledFrom([]*pb.Value{
			{ValueType: &pb.Value_StringValue{StringValue: s}},
			{ValueType: &pb.Value_BlobValue{BlobValue: []byte(s)}},
			{ValueType: &pb.Value_BooleanValue{BooleanValue: s == "a"}},
			{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}},
			{ValueType: &pb.Value_StringValue{StringValue: s}, ExcludeFromIndexes: true},
		}).Draw(t, "v")
	}))
	return rapid.OneOf(simple, rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"x", "y"}), simple, 0, 2), func(m map[string]*pb.Value) *pb.Value {
		return &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: m}}}
	}))
}

// TestArrays compares the transforms of arrays with their description.
func TestArrays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stored, given := rapid.SliceOfN(element(), 0, 6).Draw(t, "stored"), rapid.SliceOfN(element(), 0, 6).Draw(t, "given")
		has := func(vs []*pb.Value, v *pb.Value) bool {
			return slices.ContainsFunc(vs, func(w *pb.Value) bool { return equivalent(v, w) })
		}
		appended := slices.Clone(stored)
		for _, v := range given {
			if !has(appended, v) {
				appended = append(appended, v)
			}
		}
		removed := slices.DeleteFunc(slices.Clone(stored), func(v *pb.Value) bool { return has(given, v) })

		got := transform(t, &pb.PropertyTransform{TransformType: &pb.PropertyTransform_AppendMissingElements{
			AppendMissingElements: &pb.ArrayValue{Values: given}}}, value(stored))
		if diff := cmp.Diff(value(appended), got, protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("append (-want +got):\n%s", diff)
		}
		got = transform(t, &pb.PropertyTransform{TransformType: &pb.PropertyTransform_RemoveAllFromArray{
			RemoveAllFromArray: &pb.ArrayValue{Values: given}}}, value(stored))
		if diff := cmp.Diff(value(removed), got, protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("remove (-want +got):\n%s", diff)
		}
	})
}

func TestBudget(t *testing.T) {
	tr, err := NewTransform(&pb.PropertyTransform{Property: "p", TransformType: &pb.PropertyTransform_AppendMissingElements{
		AppendMissingElements: &pb.ArrayValue{Values: []*pb.Value{integer(1)}}}})
	if err != nil {
		t.Fatal(err)
	}
	large := &pb.Entity{Properties: map[string]*pb.Value{"s": {ValueType: &pb.Value_StringValue{StringValue: strings.Repeat("x", 1000)}}}}
	for what, stored := range map[string]*pb.Value{
		"many elements":     value(slices.Repeat([]*pb.Value{integer(2)}, 250)),
		"one large element": value([]*pb.Value{{ValueType: &pb.Value_EntityValue{EntityValue: large}}}),
	} {
		e := &pb.Entity{Properties: map[string]*pb.Value{"p": stored}}
		b := Budget(1500) // the array has more than 1000 bytes
		if _, err := tr.Apply(e, 0, &b); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := tr.Apply(e, 0, &b); err == nil || !strings.Contains(err.Error(), fmt.Sprint(MaxWork)) {
			t.Errorf("%s: got %v; want the bound", what, err)
		}
	}
}

// TestLargeMasks: what a mask costs depends on what it shows, not on what it
// names. Going through all its paths for each entity would take hours.
func TestLargeMasks(t *testing.T) {
	paths := make([]Path, 200_000)
	for i := range paths {
		paths[i] = Path{fmt.Sprint(i)}
	}
	m := NewMask(paths)
	e := &pb.Entity{Properties: map[string]*pb.Value{"0": integer(1), "x": integer(2)}}
	for range 50_000 {
		if shown := m.Apply(e).GetProperties(); len(shown) != 1 || shown["0"] == nil {
			t.Fatalf("shows %v; want the property 0", shown)
		}
	}
}

// TestMasks: a mask takes what it names, and merging it replaces just that.
func TestMasks(t *testing.T) {
	entity := func(n int64) *pb.Entity {
		sub := &pb.Entity{Properties: map[string]*pb.Value{"x": integer(n), "y": integer(n)}}
		return &pb.Entity{Properties: map[string]*pb.Value{"a": integer(n), "b.c": integer(n),
			"e": {ValueType: &pb.Value_EntityValue{EntityValue: sub}}}}
	}
	names := func(e *pb.Entity) string {
		var out []string
		for name, v := range e.GetProperties() {
			if sub := v.GetEntityValue(); sub != nil {
				for s, w := range sub.GetProperties() {
					out = append(out, fmt.Sprintf("%s/%s=%d", name, s, w.GetIntegerValue()))
				}
				continue
			}
			out = append(out, fmt.Sprintf("%s=%d", name, v.GetIntegerValue()))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		paths         []string
		shown, merged string
	}{
		{[]string{}, "", "a=1 b.c=1 e/x=1 e/y=1"},
		{[]string{"a"}, "a=2", "a=2 b.c=1 e/x=1 e/y=1"},
		{[]string{"b.c", "z"}, "", "a=1 b.c=1 e/x=1 e/y=1"},
		{[]string{"`b.c`"}, "b.c=2", "a=1 b.c=2 e/x=1 e/y=1"},
		{[]string{"e.x"}, "e/x=2", "a=1 b.c=1 e/x=2 e/y=1"},
		{[]string{"e.x", "e"}, "e/x=2 e/y=2", "a=1 b.c=1 e/x=2 e/y=2"},
		{[]string{"e", "e.x"}, "e/x=2 e/y=2", "a=1 b.c=1 e/x=2 e/y=2"},
		{[]string{"e.x", "e.z", "e.y"}, "e/x=2 e/y=2", "a=1 b.c=1 e/x=2 e/y=2"},
		{[]string{"a.x"}, "", "a=1 b.c=1 e/x=1 e/y=1"},
	} {
		paths := make([]Path, len(c.paths))
		for i, p := range c.paths {
			var err error
			if paths[i], err = ParsePath(p); err != nil {
				t.Fatal(err)
			}
		}
		m := NewMask(paths)
		if got := names(m.Apply(entity(2))); got != c.shown {
			t.Errorf("%q shows %q; want %q", c.paths, got, c.shown)
		}
		written := entity(2)
		if got := names(m.Merge(entity(1), written)); got != c.merged {
			t.Errorf("%q merges into %q; want %q", c.paths, got, c.merged)
		}
		if got, want := names(written), names(entity(2)); got != want {
			t.Errorf("%q changed what was written into %q", c.paths, got)
		}
	}
}
