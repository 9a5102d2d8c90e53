package generate

import (
	"math"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (g *generator) partition() *pb.PartitionId {
	return &pb.PartitionId{ProjectId: script.Project, NamespaceId: g.namespace}
}

func (g *generator) kind() string { return pick(g, g.kinds...) }

func (g *generator) element(kind string) *pb.Key_PathElement {
	e := &pb.Key_PathElement{Kind: kind}
	if g.one(2) {
		e.IdType = &pb.Key_PathElement_Name{Name: pick(g, "a", "B", "aa", "é", "a\x00", "z")}
	} else {
		e.IdType = &pb.Key_PathElement_Id{Id: pick[int64](g, 1, 2, 3, 10, -3, math.MaxInt32)}
	}
	return e
}

func (g *generator) keyOf(kind string) *pb.Key {
	k := &pb.Key{PartitionId: g.partition()}
	for g.one(4) && len(k.Path) < 3 {
		k.Path = append(k.Path, g.element(pick(g, "A", "B")))
	}
	k.Path = append(k.Path, g.element(kind))
	return k
}

func (g *generator) key() *pb.Key { return g.keyOf(g.kind()) }

func keyValue(k *pb.Key) *pb.Value { return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: k}} }
func integer(n int64) *pb.Value    { return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: n}} }
func text(s string) *pb.Value      { return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: s}} }
func array(vs ...*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: vs}}}
}

// scalar is any value but an array or an entity.
func (g *generator) scalar() *pb.Value {
	switch g.IntN(14) {
	case 0:
		return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
	case 1:
		return &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: g.one(2)}}
	case 2:
		return g.double()
	case 3:
		return &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{
			Seconds: pick[int64](g, 0, 0, 0, -1, 1_000_000_000), Nanos: pick[int32](g, 0, 1000, 2000, 2999, 999_999_999)}}}
	case 4:
		return &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: []byte(pick(g, "", "a", "b", "\x00", "\xff"))}}
	case 5:
		return &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: pick(g, -1.0, 0, 1, 90), Longitude: pick(g, -2.0, 0, 2, -180)}}}
	case 6:
		return keyValue(g.key())
	case 7, 8, 9:
		return text(pick(g, "", "a", "b", "aa", "a\x00", "é", "z", strings.Repeat("x", 40)))
	default:
		return integer(pick[int64](g, -2, 0, 1, 2, 3, 1<<40, math.MaxInt64, math.MinInt64))
	}
}

func (g *generator) double() *pb.Value {
	return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: pick(g, -1.5, 0, math.Copysign(0, -1), 1, 2.5, 1e300, math.Inf(1), math.Inf(-1), math.NaN())}}
}

// value is one that a property may have in this script's world.
func (g *generator) value() *pb.Value {
	switch {
	case g.embedded && g.one(6):
		e := &pb.Entity{Properties: map[string]*pb.Value{}}
		for _, name := range []string{"x", "y"} {
			if !g.one(3) {
				e.Properties[name] = g.scalar()
			}
		}
		if g.one(5) {
			e.Key = g.key()
		}
		v := &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: e}}
		v.ExcludeFromIndexes = g.unindexed && g.one(4)
		return v
	case g.arrays && g.one(3):
		n := g.between(1, 3)
		if g.empty && g.one(4) {
			n = 0
		}
		vs := make([]*pb.Value, n)
		for i := range vs {
			vs[i] = g.scalar()
			vs[i].ExcludeFromIndexes = g.unindexed && g.one(6)
		}
		return array(vs...)
	}
	v := g.scalar()
	v.ExcludeFromIndexes = g.unindexed && g.one(5)
	return v
}

// entity is one of the world's.
func (g *generator) entity(k *pb.Key) *pb.Entity {
	e := &pb.Entity{Key: k, Properties: map[string]*pb.Value{}}
	for _, name := range g.names {
		if !g.one(5) {
			e.Properties[name] = g.value()
		}
	}
	return e
}
