package encoding

import (
	"math"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Wire is an entity on its way to its wire form, in which properties are in the
// order of their names: it is that of proto's deterministic option, byte for
// byte. Entities consist of small values, for which proto's own way through
// reflected maps takes five times as long.
type Wire struct {
	entity     *pb.Entity
	key        int // bytes
	properties []wireProperty
	size       int
}

type wireProperty struct {
	name  string
	value *pb.Value
	size  int // of the value
}

// Measure begins with an entity, which must not change until Append. A Wire may
// measure one after the other.
func (w *Wire) Measure(e *pb.Entity) {
	*w = Wire{entity: e, properties: slices.Grow(w.properties[:0], len(e.GetProperties()))}
	if e.GetKey() != nil {
		w.key = proto.Size(e.GetKey())
		w.size = 1 + protowire.SizeBytes(w.key)
	}
	for name, v := range e.GetProperties() {
		p := wireProperty{name: name, value: v, size: wireSize(v)}
		w.properties = append(w.properties, p)
		w.size += 1 + protowire.SizeBytes(p.entry())
	}
	w.size += len(e.ProtoReflect().GetUnknown())
	slices.SortFunc(w.properties, func(a, b wireProperty) int { return strings.Compare(a.name, b.name) })
}

// Size is the length of what Append appends.
func (w *Wire) Size() int { return w.size }

// entry is the size of the property's entry in the map.
func (p *wireProperty) entry() int {
	return 1 + protowire.SizeBytes(len(p.name)) + 1 + protowire.SizeBytes(p.size)
}

// Append appends the wire form of the entity.
func (w *Wire) Append(dst []byte) ([]byte, error) {
	options := proto.MarshalOptions{Deterministic: true, UseCachedSize: true}
	var err error
	if k := w.entity.GetKey(); k != nil {
		dst = protowire.AppendTag(dst, entityKey, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(w.key))
		if dst, err = options.MarshalAppend(dst, k); err != nil {
			return nil, err
		}
	}
	for i := range w.properties {
		p := &w.properties[i]
		dst = protowire.AppendTag(dst, entityProperties, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(p.entry()))
		dst = protowire.AppendTag(dst, entryName, protowire.BytesType)
		dst = protowire.AppendString(dst, p.name)
		dst = protowire.AppendTag(dst, entryValue, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(p.size))
		if isSimple(p.value) {
			dst = appendWire(dst, p.value)
		} else if dst, err = options.MarshalAppend(dst, p.value); err != nil {
			return nil, err
		}
	}
	return append(dst, w.entity.ProtoReflect().GetUnknown()...), nil
}

// isSimple reports whether the value is of a kind that most properties have.
func isSimple(v *pb.Value) bool {
	switch v.GetValueType().(type) {
	case *pb.Value_NullValue, *pb.Value_BooleanValue, *pb.Value_IntegerValue, *pb.Value_DoubleValue, *pb.Value_StringValue:
		return len(v.ProtoReflect().GetUnknown()) == 0
	}
	return false
}

func wireSize(v *pb.Value) int {
	if !isSimple(v) {
		return proto.Size(v)
	}
	n := 0
	switch x := v.GetValueType().(type) {
	case *pb.Value_NullValue:
		n = 1 + protowire.SizeVarint(uint64(x.NullValue))
	case *pb.Value_BooleanValue:
		n = 1 + 1
	case *pb.Value_IntegerValue:
		n = 1 + protowire.SizeVarint(uint64(x.IntegerValue))
	case *pb.Value_DoubleValue:
		n = 1 + 8
	case *pb.Value_StringValue:
		n = 2 + protowire.SizeBytes(len(x.StringValue))
	}
	if v.GetMeaning() != 0 {
		n += 1 + protowire.SizeVarint(uint64(v.GetMeaning()))
	}
	if v.GetExcludeFromIndexes() {
		n += 2 + 1
	}
	return n
}

// appendWire puts what v says of the value first, as proto does.
func appendWire(dst []byte, v *pb.Value) []byte {
	if v.GetMeaning() != 0 {
		dst = protowire.AppendTag(dst, valueMeaning, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(v.GetMeaning()))
	}
	if v.GetExcludeFromIndexes() {
		dst = protowire.AppendTag(dst, valueExcluded, protowire.VarintType)
		dst = protowire.AppendVarint(dst, 1)
	}
	switch x := v.GetValueType().(type) {
	case *pb.Value_NullValue:
		dst = protowire.AppendTag(dst, valueNull, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(x.NullValue))
	case *pb.Value_BooleanValue:
		dst = protowire.AppendTag(dst, valueBoolean, protowire.VarintType)
		dst = protowire.AppendVarint(dst, protowire.EncodeBool(x.BooleanValue))
	case *pb.Value_IntegerValue:
		dst = protowire.AppendTag(dst, valueInteger, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(x.IntegerValue))
	case *pb.Value_DoubleValue:
		dst = protowire.AppendTag(dst, valueDouble, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, math.Float64bits(x.DoubleValue))
	case *pb.Value_StringValue:
		dst = protowire.AppendTag(dst, valueString, protowire.BytesType)
		dst = protowire.AppendString(dst, x.StringValue)
	}
	return dst
}
