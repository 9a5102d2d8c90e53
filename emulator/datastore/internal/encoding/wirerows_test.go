package encoding

import (
	"math"
	"slices"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// every has a property of every kind, and each of them again unindexed.
func every() *pb.Entity {
	k := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: "p", NamespaceId: "n\x00"}, Path: []*pb.Key_PathElement{
		{Kind: "A", IdType: &pb.Key_PathElement_Id{Id: 7}}, {Kind: "B", IdType: &pb.Key_PathElement_Name{Name: "x"}}}}
	sub := &pb.Entity{Properties: map[string]*pb.Value{"x": {ValueType: &pb.Value_IntegerValue{IntegerValue: 1}}}}
	array := &pb.ArrayValue{Values: []*pb.Value{
		{ValueType: &pb.Value_IntegerValue{IntegerValue: 1}},
		{ValueType: &pb.Value_IntegerValue{IntegerValue: 1}},
		{ValueType: &pb.Value_StringValue{StringValue: "a"}, ExcludeFromIndexes: true}}}
	e := &pb.Entity{Key: k, Properties: map[string]*pb.Value{
		"null": {ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}},
		"yes":  {ValueType: &pb.Value_BooleanValue{BooleanValue: true}},
		"no":   {ValueType: &pb.Value_BooleanValue{}},
		"zero": {ValueType: &pb.Value_IntegerValue{}},
		"neg":  {ValueType: &pb.Value_IntegerValue{IntegerValue: -5}, Meaning: 9},
		"d":    {ValueType: &pb.Value_DoubleValue{DoubleValue: math.Copysign(0, -1)}},
		"nan":  {ValueType: &pb.Value_DoubleValue{DoubleValue: math.NaN()}},
		"":     {ValueType: &pb.Value_StringValue{StringValue: "a\x00b"}},
		"none": {ValueType: &pb.Value_StringValue{}},
		"blob": {ValueType: &pb.Value_BlobValue{BlobValue: []byte("a")}},
		"time": {ValueType: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: 1, Nanos: 5000}}},
		"geo":  {ValueType: &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: 1, Longitude: 2}}},
		"key":  {ValueType: &pb.Value_KeyValue{KeyValue: k}},
		"e":    {ValueType: &pb.Value_EntityValue{EntityValue: sub}},
		"l":    {ValueType: &pb.Value_ArrayValue{ArrayValue: array}},
		"[]":   {ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{}}},
	}}
	for name, v := range e.GetProperties() {
		v = proto.CloneOf(v)
		v.ExcludeFromIndexes = true
		e.Properties["unindexed "+name] = v
		if len(e.Properties) > 40 {
			break
		}
	}
	return e
}

func FuzzWireRows(f *testing.F) {
	whole, err := proto.Marshal(every())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	for _, name := range []string{"null", "neg", "", "l"} {
		e := every()
		e.Properties = map[string]*pb.Value{name: e.Properties[name]}
		b, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var e pb.Entity
		if proto.Unmarshal(wire, &e) != nil || len(e.GetKey().GetPath()) == 0 {
			_, _ = new(WireRows).Of(wire) // no crash
			return
		}
		again, err := proto.Marshal(&e)
		if err != nil {
			return
		}
		if hasUnknown(&e) {
			return // never stored
		}
		want, wantErr := RowsOf(&e)
		var w WireRows
		_, _ = w.Of(wire) // leaves nothing behind
		got, err := w.Of(again)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v; want %v", err, wantErr)
		}
		if diff := cmp.Diff(slices.Collect(want.All()), slices.Collect(got.All())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func hasUnknown(e *pb.Entity) bool {
	unknown := false
	_ = protorange.Range(e.ProtoReflect(), func(v protopath.Values) error {
		if m, ok := v.Index(-1).Value.Interface().(protoreflect.Message); ok && len(m.GetUnknown()) > 0 {
			unknown = true
		}
		return nil
	})
	return unknown
}
