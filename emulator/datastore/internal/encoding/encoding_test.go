package encoding

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	gocmp "github.com/google/go-cmp/cmp"
)

func value(v any) *pb.Value {
	switch v := v.(type) {
	case nil:
		return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
	case int:
		return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(v)}}
	case bool:
		return &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: v}}
	case string:
		return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: v}}
	case []byte:
		return &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: v}}
	case float64:
		return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: v}}
	case *timestamppb.Timestamp:
		return &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: v}}
	case *latlng.LatLng:
		return &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: v}}
	case *pb.Key:
		return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: v}}
	}
	return nil
}

func path(elements ...any) *pb.Key {
	k := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p"}}
	for i := 0; i < len(elements); i += 2 {
		e := &pb.Key_PathElement{Kind: elements[i].(string)}
		switch id := elements[i+1].(type) {
		case int:
			e.IdType = &pb.Key_PathElement_Id{Id: int64(id)}
		case string:
			e.IdType = &pb.Key_PathElement_Name{Name: id}
		}
		k.Path = append(k.Path, e)
	}
	return k
}

// TestValueOrder: the order of types and of values within them, as both of
// Google's emulators have it. Equal neighbours are one index value.
func TestValueOrder(t *testing.T) {
	ordered := [][]*pb.Value{
		{value(nil)},
		{value(math.MinInt64)},
		{value(&timestamppb.Timestamp{Seconds: -1})},
		{value(-1)},
		{value(0), value(&timestamppb.Timestamp{})},
		{value(5), value(&timestamppb.Timestamp{Nanos: 5999})},
		{value(math.MaxInt64)},
		{value(false)},
		{value(true)},
		{value(""), value([]byte{})},
		{value("\x00")},
		{value("\x00\x00")},
		{value("\x00\x01")},
		{value("\x01")},
		{value("a")},
		{value("a\x00")},
		{value("ab"), value([]byte("ab"))},
		{value("b")},
		{value([]byte{0xFF})},
		{value([]byte{0xFF, 0xFF})},
		{value(math.Inf(-1))},
		{value(-1.5)},
		{value(math.Copysign(0, -1))},
		{value(0.0)},
		{value(5e-324)},
		{value(5.0)},
		{value(math.Inf(1))},
		{value(math.NaN()), value(math.Float64frombits(0xFFF8000000000001))},
		{value(&latlng.LatLng{Latitude: -1, Longitude: 2})},
		{value(&latlng.LatLng{Latitude: 1, Longitude: -2})},
		{value(&latlng.LatLng{Latitude: 1, Longitude: 2})},
		{value(path("A", -5))},
		{value(path("A", 2))},
		{value(path("A", 2, "B", 1))},
		{value(path("A", 10))},
		{value(path("A", "B"))},
		{value(path("A", "a"))},
		{value(path("AA", 1))},
		{value(path("B", 1))},
	}
	var previous []byte
	for i, same := range ordered {
		first, ok := AppendValue(nil, same[0], "p")
		if !ok {
			t.Fatalf("%v was not encoded", same[0])
		}
		if i > 0 && bytes.Compare(previous, first) >= 0 {
			t.Errorf("%v sorts before %v", same[0], ordered[i-1][0])
		}
		for _, v := range same[1:] {
			if other, _ := AppendValue(nil, v, "p"); !bytes.Equal(other, first) {
				t.Errorf("%v and %v differ", same[0], v)
			}
		}
		previous = first
	}
}

func genKey(t *rapid.T) *pb.Key {
	var elements []any
	for range rapid.IntRange(1, 3).Draw(t, "elements") {
		elements = append(elements, rapid.StringN(1, 4, -1).Draw(t, "kind"))
		if rapid.Bool().Draw(t, "numbered") {
			elements = append(elements, int(rapid.Int64().Draw(t, "id")))
		} else {
			elements = append(elements, rapid.StringN(1, 4, -1).Draw(t, "name"))
		}
	}
	return path(elements...)
}

// TestKeysKeepTheirOrder compares the encodings with an order spelled out.
func TestKeysKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genKey(t), genKey(t)
		if rapid.Bool().Draw(t, "related") {
			b = &pb.Key{PartitionId: a.PartitionId, Path: append(slices.Clone(a.Path[:rapid.IntRange(0, len(a.Path)).Draw(t, "shared")]), b.Path...)}
		}
		ea, eb := AppendPath(nil, a), AppendPath(nil, b)
		if got, want := bytes.Compare(ea, eb), compareKeys(a, b); got != want {
			t.Fatalf("%v and %v compare %d; want %d", a, b, got, want)
		}
		back, rest, err := CutPath(string(ea) + "rest")
		if diff := gocmp.Diff(a.Path, back, protocmp.Transform()); err != nil || rest != "rest" || diff != "" {
			t.Fatalf("decoded %v, %q, %v:\n%s", back, rest, err, diff)
		}
		descends := len(b.Path) >= len(a.Path) && compareKeys(a, &pb.Key{Path: b.Path[:len(a.Path)]}) == 0
		prefix := string(AppendPathPrefix(nil, a))
		end := PrefixEnd(prefix)
		if within := string(eb) >= prefix && string(eb) < end; within != descends {
			t.Fatalf("%v within %v: %v; want %v", b, a, within, descends)
		}
	})
}

func compareKeys(a, b *pb.Key) int {
	return slices.CompareFunc(a.Path, b.Path, func(x, y *pb.Key_PathElement) int {
		if c := strings.Compare(x.Kind, y.Kind); c != 0 {
			return c
		}
		_, xNamed := x.IdType.(*pb.Key_PathElement_Name)
		_, yNamed := y.IdType.(*pb.Key_PathElement_Name)
		if xNamed != yNamed {
			if xNamed {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(x.GetId(), y.GetId()), strings.Compare(x.GetName(), y.GetName()))
	})
}

// FuzzCutValue: what decodes, decodes to something that encodes to the same.
func FuzzCutValue(f *testing.F) {
	for _, v := range []any{nil, 1, true, "a\x00b", 2.5, math.NaN(), &latlng.LatLng{Latitude: 1}, path("A", 1, "B", "x")} {
		b, _ := AppendValue(nil, value(v), "p")
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := CutValue(string(b))
		if err != nil {
			return
		}
		again, ok := AppendValue(nil, v, "")
		if !ok {
			t.Fatalf("%v can't be encoded", v)
		}
		// Not every NaN, and not the sign of zero, survives; then the second
		// round must be stable.
		w, _, err := CutValue(string(again))
		if err != nil {
			t.Fatal(err)
		}
		third, _ := AppendValue(nil, w, "")
		if !bytes.Equal(again, third) {
			t.Fatalf("%x became %x", again, third)
		}
		if len(rest) > len(b) {
			t.Fatal("more is left than there was")
		}
	})
}

// FuzzCutPath: as FuzzCutValue, exactly.
func FuzzCutPath(f *testing.F) {
	f.Add(AppendPath(nil, path("A", 1, "B\x00", "x\x00")))
	f.Add([]byte("A\x00\x00\x08\x00\x00"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		elements, rest, err := CutPath(string(b))
		if err != nil {
			return
		}
		again := AppendPath(nil, &pb.Key{Path: elements})
		if string(again)+rest != string(b) {
			t.Fatalf("%x became %x and %x", b, again, rest)
		}
	})
}

func TestRows(t *testing.T) {
	e := &pb.Entity{Key: path("K", 1), Properties: map[string]*pb.Value{
		"a":       value(1),
		"many":    {ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: []*pb.Value{value(2), value(1), value(2)}}}},
		"none":    {ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{}}},
		"ignored": {ValueType: value(1).ValueType, ExcludeFromIndexes: true},
		"part":    {ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: map[string]*pb.Value{"x": value("s")}}}},
	}}
	rows, err := RowsOf(e)
	if err != nil {
		t.Fatal(err)
	}
	row := func(name string, v any) string {
		b, _ := AppendValue([]byte(PropertyPrefix("", "K", name)), value(v), "p")
		return string(AppendPath(b, e.Key))
	}
	want := []string{EntityRow(e.Key), string(AppendPath([]byte(KindPrefix("", "K")), e.Key)),
		row("a", 1), row("many", 1), row("many", 2), row("part.x", "s")}
	if diff := gocmp.Diff(want, slices.Collect(rows.All())); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	long := make([]*pb.Value, MaxIndexEntries+1)
	for i := range long {
		long[i] = value(i)
	}
	e.Properties["many"].GetArrayValue().Values = long
	if _, err := RowsOf(e); err == nil {
		t.Errorf("%d index entries were accepted", len(long))
	}
}

// TestIndexEntriesAreBoundedInBytes: each carries the property's name and the
// whole key, so that a small entity could ask for any amount of memory.
func TestIndexEntriesAreBoundedInBytes(t *testing.T) {
	long := strings.Repeat("x", 1500)
	var values []*pb.Value
	for i := range MaxIndexEntries {
		values = append(values, value(i))
	}
	many := &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
	for name, fits := range map[string]bool{"p": true, long: false} {
		rows, err := RowsOf(&pb.Entity{Key: path("K", "name"), Properties: map[string]*pb.Value{name: many}})
		bytes := 0
		for row := range rows.All() {
			bytes += len(row)
		}
		if fits != (err == nil) || bytes > MaxIndexBytes {
			t.Errorf("a property name of %d bytes: %d bytes of index entries, %v; accepted should be %v", len(name), bytes, err, fits)
		}
	}
}
