package encoding

import (
	"errors"
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Fields of Entity, of the entries of its map, and of Value.
const (
	entityKey        protowire.Number = 1
	entityProperties protowire.Number = 3
	entryName        protowire.Number = 1
	entryValue       protowire.Number = 2
	valueBoolean     protowire.Number = 1
	valueInteger     protowire.Number = 2
	valueDouble      protowire.Number = 3
	valueNull        protowire.Number = 11
	valueString      protowire.Number = 17
	valueExcluded    protowire.Number = 19
	valueMeaning     protowire.Number = 14
)

var errNoKey = errors.New("an entity without a key")

// RowsOfWire is Rows for an entity in wire form that was encoded by this
// process or one like it: each property is there once. It spares decoding most
// properties.
func RowsOfWire(entity []byte) ([]string, error) {
	number, key, rest := cutField(entity)
	if number != entityKey {
		return nil, errNoKey
	}
	var k pb.Key
	if err := proto.Unmarshal(key, &k); err != nil {
		return nil, err
	}
	if len(k.GetPath()) == 0 {
		return nil, errNoKey
	}
	c := newCollector(&k, min(len(rest)/16, 64))
	for len(rest) > 0 {
		var entry []byte
		if number, entry, rest = cutField(rest); number != entityProperties {
			return nil, errCorrupt
		}
		number, name, value := cutField(entry)
		if number != entryName {
			name, value = nil, entry // the empty name
		}
		if number, value, _ = cutField(value); number != entryValue {
			return nil, errCorrupt
		}
		if err := c.wireProperty(string(name), value); err != nil {
			return nil, err
		}
	}
	return c.rows(), nil
}

// cutField takes a field with a length off; number is 0 when there is none.
func cutField(b []byte) (number protowire.Number, value, rest []byte) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 || kind != protowire.BytesType {
		return 0, nil, nil
	}
	value, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return 0, nil, nil
	}
	return number, value, b[n+m:]
}

// wireProperty is property for a value in wire form.
func (c *collector) wireProperty(name string, wire []byte) error {
	v, ok := simpleValue(wire)
	if !ok {
		v = new(pb.Value)
		if err := proto.Unmarshal(wire, v); err != nil {
			return err
		}
	}
	if v == nil {
		return nil
	}
	return c.property(name, v)
}

// simpleValue decodes the kinds of values that most properties have; nil means
// that it is excluded from indexes. ok is false for all others.
func simpleValue(wire []byte) (v *pb.Value, ok bool) {
	v = new(pb.Value)
	excluded := false
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return nil, false
		}
		wire = wire[n:]
		switch kind {
		case protowire.VarintType:
			u, n := protowire.ConsumeVarint(wire)
			if n < 0 {
				return nil, false
			}
			wire = wire[n:]
			switch number {
			case valueBoolean:
				v.ValueType = &pb.Value_BooleanValue{BooleanValue: u != 0}
			case valueInteger:
				v.ValueType = &pb.Value_IntegerValue{IntegerValue: int64(u)}
			case valueNull:
				v.ValueType = &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}
			case valueExcluded:
				excluded = u != 0
			case valueMeaning:
			default:
				return nil, false
			}
		case protowire.Fixed64Type:
			u, n := protowire.ConsumeFixed64(wire)
			if n < 0 || number != valueDouble {
				return nil, false
			}
			wire = wire[n:]
			v.ValueType = &pb.Value_DoubleValue{DoubleValue: math.Float64frombits(u)}
		case protowire.BytesType:
			b, n := protowire.ConsumeBytes(wire)
			if n < 0 || number != valueString {
				return nil, false
			}
			wire = wire[n:]
			v.ValueType = &pb.Value_StringValue{StringValue: string(b)}
		default:
			return nil, false
		}
	}
	if excluded {
		return nil, true
	}
	return v, v.ValueType != nil
}
