package export

import (
	"math"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

func value(v any) *pb.Value {
	switch v := v.(type) {
	case bool:
		return &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: v}}
	case int:
		return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(v)}}
	case float64:
		return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: v}}
	case string:
		return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: v}}
	case []byte:
		return &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: v}}
	case *timestamppb.Timestamp:
		return &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: v}}
	case *latlng.LatLng:
		return &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: v}}
	case *pb.Key:
		return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: v}}
	case *pb.Entity:
		return &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: v}}
	case []*pb.Value:
		return arrayOf(v...)
	}
	return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
}

func with(v *pb.Value, meaning int32, excluded bool) *pb.Value {
	v.Meaning, v.ExcludeFromIndexes = meaning, excluded
	return v
}

// key makes one of kinds and identifiers; the last may be nil.
func key(project, namespace string, path ...any) *pb.Key {
	k := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: project, NamespaceId: namespace}}
	for i := 0; i < len(path); i += 2 {
		e := &pb.Key_PathElement{Kind: path[i].(string)}
		switch id := path[i+1].(type) {
		case int:
			e.IdType = &pb.Key_PathElement_Id{Id: int64(id)}
		case string:
			e.IdType = &pb.Key_PathElement_Name{Name: id}
		}
		k.Path = append(k.Path, e)
	}
	return k
}

// everything has each type of value, with each meaning that the API takes.
func everything() *pb.Entity {
	part := func(v ...any) *pb.Entity {
		e := &pb.Entity{Properties: map[string]*pb.Value{}}
		for i := 0; i < len(v); i += 2 {
			e.Properties[v[i].(string)] = v[i+1].(*pb.Value)
		}
		return e
	}
	user := part("email", with(value("a@b.c"), 0, true), "auth_domain", with(value("b.c"), 0, true), "user_id", with(value("7"), 0, true))
	keyed := part("x", value(1))
	keyed.Key = key("p", "n", "K", 1, "L", nil)
	e := part(
		"null", value(nil), "unindexed null", with(value(nil), 0, true),
		"true", value(true), "false", with(value(false), 0, true),
		"int", value(-42), "big", with(value(math.MaxInt64), 0, true), "rating", with(value(5), 13, false),
		"double", value(1.5), "negative zero", value(math.Copysign(0, -1)), "infinite", value(math.Inf(-1)),
		"string", value("héllo"), "empty", value(""), "text", with(value("long"), meaningText, true), "link", with(value("l"), 2, false),
		"bytes", value([]byte{0, 255}), "blob", with(value([]byte{}), 0, true), "zlib", with(value([]byte("z")), meaningZlib, true),
		"first time", value(&timestamppb.Timestamp{Seconds: -62135596800}),
		"last time", with(value(&timestamppb.Timestamp{Seconds: 253402300799, Nanos: 999999000}), 0, true),
		"before 1970", value(&timestamppb.Timestamp{Seconds: -2, Nanos: 999999000}),
		"point", value(&latlng.LatLng{Latitude: -1.25, Longitude: 180}), "plain point", with(value(&latlng.LatLng{Latitude: 1}), meaningPlainPoint, false),
		"key", value(key("p", "n", "A", 1, "B", "b")), "key elsewhere", with(value(key("q", "", "A", -1)), 0, true),
		"array", value([]*pb.Value{value(1), with(value("x"), 0, true), value(nil), value([]byte("b")), with(value(2.5), 0, true)}),
		"empty array", value([]*pb.Value{}), "array of one", value([]*pb.Value{value(1)}),
		"vector", with(value([]*pb.Value{value(1.0), value(-2.0)}), meaningVector, true),
		"user", with(value(user), meaningUser, true),
		"part", value(part("a", value(1), "b", with(value("u"), 0, true), "c", value(part("d", value([]*pb.Value{value(1), value(2)}))))),
		"keyed part", with(value(keyed), 0, true), "empty part", value(&pb.Entity{}),
		"parts", value([]*pb.Value{value(part("x", value(1))), with(value(part("y", value(nil))), 0, true)}),
		"a.b", value(1), "", value("a property without a name"),
	)
	e.Key = key("p", "n", "Parent", 5, "Kind", "näme")
	return e
}

func TestEveryValue(t *testing.T) {
	e := everything()
	got, err := Decode(AppendEntity(nil, e), "p", "")
	if diff := cmp.Diff(e, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v, (-written +read):\n%s", err, diff)
	}
	e.Properties = map[string]*pb.Value{"nan": value(math.NaN())}
	got, err = Decode(AppendEntity(nil, e), "p", "")
	if err != nil || !math.IsNaN(got.Properties["nan"].GetDoubleValue()) {
		t.Errorf("NaN became %v, %v", got, err)
	}
}

// TestDestination: an entity and the keys of its project go where it is read to.
func TestDestination(t *testing.T) {
	e := &pb.Entity{Key: key("s~p", "n", "K", 1), Properties: map[string]*pb.Value{
		"own": value(key("s~p", "m", "K", 2)), "other": value(key("b~q", "", "K", 3)),
		"part": value(&pb.Entity{Key: key("s~p", "", "K", nil)}),
	}}
	want := proto.CloneOf(e)
	ours := func(k *pb.Key) { k.PartitionId.ProjectId, k.PartitionId.DatabaseId = "there", "db" }
	ours(want.Key)
	ours(want.Properties["own"].GetKeyValue())
	ours(want.Properties["part"].GetEntityValue().Key)
	want.Properties["other"].GetKeyValue().PartitionId.ProjectId = "q"
	got, err := Decode(AppendEntity(nil, e), "there", "db")
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

func TestEntitiesRefused(t *testing.T) {
	nested := &pb.Entity{}
	for range maxDepth + 1 {
		nested = &pb.Entity{Properties: map[string]*pb.Value{"p": value(nested)}}
	}
	nested.Key = key("p", "", "K", 1)
	keyed := AppendEntity(nil, &pb.Entity{Key: key("p", "", "K", 1)})
	property := func(name string, multiple bool) []byte {
		return appendProperty(nil, name, value(1), multiple)
	}
	for what, record := range map[string]struct {
		wire []byte
		says string
	}{
		"nothing":          {nil, "without a key"},
		"no key":           {property("p", false), "without a key"},
		"too deep":         {AppendEntity(nil, nested), "nested"},
		"cut":              {keyed[:len(keyed)-1], "EOF"},
		"two values":       {append(append(keyed, property("p", false)...), property("p", false)...), "several values"},
		"one, then many":   {append(append(keyed, property("p", false)...), property("p", true)...), "several values"},
		"a kind in bytes":  {AppendEntity(nil, &pb.Entity{Key: key("p", "", "K\xff", 1)}), "UTF-8"},
		"a string, ditto":  {append(keyed, appendProperty(nil, "p", value("\xff"), false)...), "UTF-8"},
		"a name, ditto":    {append(keyed, property("\xff", false)...), "UTF-8"},
		"many properties":  {append(keyed, []byte(strings.Repeat(string(property("p", true)), maxProperties+1))...), "over"},
		"a damaged entity": {append(keyed, appendProperty(nil, "p", with(value("\x6a\x05"), meaningEntity, false), false)...), "EOF"},
	} {
		if e, err := Decode(record.wire, "p", ""); err == nil || !strings.Contains(err.Error(), record.says) {
			t.Errorf("%s: %v, %v; want an error with %q", what, proto.Size(e), err, record.says)
		}
	}
}

// TestAnyEntity reads back what it has written.
func TestAnyEntity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := draw(t, 3)
		e.Key = drawKey(t, true)
		e.Key.PartitionId.ProjectId = "p"
		got, err := Decode(AppendEntity(nil, e), "p", "")
		if diff := cmp.Diff(e, got, protocmp.Transform()); err != nil || diff != "" {
			t.Fatalf("%v, (-written +read):\n%s", err, diff)
		}
	})
}

func draw(t *rapid.T, depth int) *pb.Entity {
	e := &pb.Entity{}
	for range rapid.IntRange(0, 4).Draw(t, "properties") {
		if e.Properties == nil {
			e.Properties = map[string]*pb.Value{}
		}
		e.Properties[rapid.StringN(0, 5, -1).Draw(t, "name")] = drawValue(t, depth, true)
	}
	return e
}

func drawKey(t *rapid.T, complete bool) *pb.Key {
	var path []any
	for range rapid.IntRange(1, 3).Draw(t, "elements") {
		path = append(path, rapid.String().Draw(t, "kind"))
		if rapid.Bool().Draw(t, "named") {
			path = append(path, rapid.String().Draw(t, "key name"))
		} else {
			path = append(path, int(rapid.Int64().Draw(t, "id")))
		}
	}
	if !complete && rapid.Bool().Draw(t, "incomplete") {
		path[len(path)-1] = nil
	}
	return key(rapid.SampledFrom([]string{"p", "p", "q"}).Draw(t, "project"), rapid.StringMatching("[a-z]?").Draw(t, "namespace"), path...)
}

func drawValue(t *rapid.T, depth int, array bool) *pb.Value {
	excluded := rapid.Bool().Draw(t, "excluded")
	types := 9
	if depth > 0 {
		types++
	}
	if array {
		types++
	}
	switch rapid.IntRange(0, types-1).Draw(t, "type") {
	case 0:
		return with(value(nil), 0, excluded)
	case 1:
		return with(value(rapid.Bool().Draw(t, "bool")), 0, excluded)
	case 2:
		return with(value(int(rapid.Int64().Draw(t, "int"))), rapid.SampledFrom([]int32{0, 13}).Draw(t, "meaning"), excluded)
	case 3:
		return with(value(rapid.Float64().Draw(t, "double")), 0, excluded)
	case 4:
		return with(value(rapid.String().Draw(t, "string")), rapid.SampledFrom([]int32{0, 1, 8, 15, 17}).Draw(t, "meaning"), excluded)
	case 5:
		return with(value(append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "blob")...)), 0, excluded)
	case 6:
		return with(value(timeOf(rapid.Int64Range(minMicros, maxMicros).Draw(t, "µs"))), 0, excluded)
	case 7:
		return with(value(&latlng.LatLng{Latitude: rapid.Float64().Draw(t, "lat"), Longitude: rapid.Float64().Draw(t, "lng")}), 0, excluded)
	case 8:
		k := drawKey(t, false)
		return with(value(k), 0, excluded)
	case 9:
		if depth > 0 {
			e := draw(t, depth-1)
			if rapid.Bool().Draw(t, "keyed") {
				e.Key = drawKey(t, false)
			}
			return with(value(e), 0, excluded)
		}
	}
	elements := []*pb.Value{}
	for range rapid.IntRange(0, 3).Draw(t, "length") {
		elements = append(elements, drawValue(t, depth, false))
	}
	return arrayOf(elements...)
}

// FuzzDecode: any record is an error or an entity that can be written and read
// again.
func FuzzDecode(f *testing.F) {
	f.Add(AppendEntity(nil, everything()))
	for name, v := range everything().Properties {
		f.Add(AppendEntity(nil, &pb.Entity{Key: key("s~p", "", "K", 1), Properties: map[string]*pb.Value{name: v}}))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		e, err := Decode(record, "p", "")
		if err != nil {
			return
		}
		again, err := Decode(AppendEntity(nil, e), "p", "")
		if err != nil || proto.Size(again) != proto.Size(e) {
			t.Fatalf("%v became %v, %v", e, again, err)
		}
	})
}
