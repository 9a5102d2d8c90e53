package export

import (
	"errors"
	"fmt"
	"math"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// What an entity may have at most here is more than it may have when it is
// stored; the bounds are for what a damaged record makes of memory and stack.
const (
	maxDepth      = 50      // entities within entities
	maxProperties = 1 << 18 // with the elements of arrays and of entities within
)

// Decode reads an EntityProto. The entity, the entities within and the keys that
// lead to the project from which it comes get the given project and database,
// as production has it; keys of other projects keep theirs.
func Decode(record []byte, project, database string) (*pb.Entity, error) {
	d := decoder{partition: &pb.PartitionId{ProjectId: project, DatabaseId: database}}
	e, err := d.entity(record, 0)
	if err != nil {
		return nil, err
	}
	if e.GetKey() == nil {
		return nil, errors.New("an entity without a key")
	}
	return e, nil
}

type decoder struct {
	partition  *pb.PartitionId // where the entity goes
	app        string          // where it comes from
	properties int
}

func (d *decoder) entity(message []byte, depth int) (*pb.Entity, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("entities nested over %d deep", maxDepth)
	}
	e := &pb.Entity{}
	// The key says which keys are of the same project, wherever it stands.
	err := fields(message, func(f field) (err error) {
		if f.is(entityKey, protowire.BytesType) {
			e.Key, err = d.key(f.bytes, depth == 0)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return e, fields(message, func(f field) error {
		if f.wire == protowire.BytesType && (f.number == entityProperty || f.number == entityRawProperty) {
			return d.property(e, f.bytes, f.number == entityRawProperty, depth)
		}
		return nil
	})
}

// key reads a Reference; an empty one, of an entity within another, is none.
func (d *decoder) key(message []byte, root bool) (*pb.Key, error) {
	var app, namespace string
	k := &pb.Key{}
	err := fields(message, func(f field) error {
		switch {
		case f.is(referenceApp, protowire.BytesType):
			return f.text(&app)
		case f.is(referenceNamespace, protowire.BytesType):
			return f.text(&namespace)
		case f.is(referencePath, protowire.BytesType):
			return fields(f.bytes, func(f field) error {
				if f.is(pathElement, protowire.StartGroupType) {
					return appendPathElement(k, f.bytes, elementKind, elementID, elementName)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil || len(k.Path) == 0 {
		return nil, err
	}
	if root {
		d.app = app
	}
	k.PartitionId = d.place(app, namespace)
	return k, nil
}

func appendPathElement(k *pb.Key, message []byte, kind, id, name protowire.Number) error {
	e := &pb.Key_PathElement{}
	k.Path = append(k.Path, e)
	return fields(message, func(f field) error {
		switch {
		case f.is(kind, protowire.BytesType):
			return f.text(&e.Kind)
		case f.is(id, protowire.VarintType):
			e.IdType = &pb.Key_PathElement_Id{Id: int64(f.integer)}
		case f.is(name, protowire.BytesType):
			var text string
			err := f.text(&text)
			e.IdType = &pb.Key_PathElement_Name{Name: text}
			return err
		}
		return nil
	})
}

// place is the partition of a key. An app is a project behind its location:
// "s~project".
func (d *decoder) place(app, namespace string) *pb.PartitionId {
	if app == d.app {
		return &pb.PartitionId{ProjectId: d.partition.GetProjectId(), DatabaseId: d.partition.GetDatabaseId(), NamespaceId: namespace}
	}
	_, project, ok := strings.Cut(app, "~")
	if !ok {
		project = app
	}
	return &pb.PartitionId{ProjectId: project, NamespaceId: namespace}
}

// property reads one Property into e.
func (d *decoder) property(e *pb.Entity, message []byte, raw bool, depth int) error {
	if d.properties++; d.properties > maxProperties {
		return fmt.Errorf("over %d properties", maxProperties)
	}
	var name string
	var meaning int32
	var zlib, multiple bool
	var value []byte
	err := fields(message, func(f field) error {
		switch {
		case f.is(propName, protowire.BytesType):
			return f.text(&name)
		case f.is(propMeaning, protowire.VarintType):
			meaning = int32(f.integer)
		case f.is(propURI, protowire.BytesType):
			zlib = string(f.bytes) == uriZlib
		case f.is(propMultiple, protowire.VarintType):
			multiple = f.integer != 0
		case f.is(propValue, protowire.BytesType):
			value = f.bytes
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("property %q: %w", name, err)
	}
	if e.Properties == nil {
		e.Properties = map[string]*pb.Value{}
	}
	before, again := e.Properties[name]
	if meaning == meaningEmptyList && !again {
		e.Properties[name] = arrayOf()
		return nil
	}
	if again && (!multiple || before.GetArrayValue() == nil) {
		return fmt.Errorf("property %q: several values where one is said to be all", name)
	}
	v, err := d.value(value, meaning, zlib, depth)
	if err != nil {
		return fmt.Errorf("property %q: %w", name, err)
	}
	v.ExcludeFromIndexes = raw
	switch {
	case !multiple:
		e.Properties[name] = v
	case again:
		array := before.GetArrayValue()
		array.Values = append(array.Values, v)
	default:
		before = arrayOf(v)
		e.Properties[name] = before
	}
	if multiple && meaning == meaningVector {
		v.ExcludeFromIndexes, v.Meaning = false, meaningNone
		before.ExcludeFromIndexes, before.Meaning = true, meaningVector
		e.Properties[name] = before
	}
	return nil
}

func arrayOf(values ...*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
}

// value reads a PropertyValue, whose type its meaning may change.
func (d *decoder) value(message []byte, meaning int32, zlib bool, depth int) (*pb.Value, error) {
	v := &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
	if meaning != meaningIndexValue && meaning != meaningEmptyList {
		v.Meaning = meaning
	}
	return v, fields(message, func(f field) (err error) {
		switch {
		case f.is(valueInt, protowire.VarintType):
			n := int64(f.integer)
			v.ValueType = &pb.Value_IntegerValue{IntegerValue: n}
			if meaning == meaningTime && minMicros <= n && n <= maxMicros {
				v.ValueType, v.Meaning = &pb.Value_TimestampValue{TimestampValue: timeOf(n)}, meaningNone
			}
		case f.is(valueBool, protowire.VarintType):
			v.ValueType = &pb.Value_BooleanValue{BooleanValue: f.integer != 0}
		case f.is(valueDouble, protowire.Fixed64Type):
			v.ValueType = &pb.Value_DoubleValue{DoubleValue: math.Float64frombits(f.integer)}
		case f.is(valueString, protowire.BytesType):
			return d.text(v, f, zlib, depth)
		case f.is(valuePoint, protowire.StartGroupType):
			v.Meaning = meaningNone
			if meaning != meaningPoint {
				v.Meaning = meaningPlainPoint
			}
			v.ValueType, err = point(f.bytes)
		case f.is(valueReference, protowire.StartGroupType):
			v.ValueType, err = d.reference(f.bytes)
		case f.is(valueUser, protowire.StartGroupType):
			v.Meaning = meaningUser
			v.ValueType, err = user(f.bytes)
		}
		return err
	})
}

// text reads what is a string, a blob or an entity, depending on the meaning.
func (d *decoder) text(v *pb.Value, f field, zlib bool, depth int) error {
	switch v.Meaning {
	case meaningBlob, meaningBytes:
		v.ValueType, v.Meaning = &pb.Value_BlobValue{BlobValue: append([]byte{}, f.bytes...)}, meaningNone
		if zlib {
			v.Meaning = meaningZlib
		}
		return nil
	case meaningEntity:
		inner, err := d.entity(f.bytes, depth+1)
		v.ValueType, v.Meaning = &pb.Value_EntityValue{EntityValue: inner}, meaningNone
		return err
	}
	var text string
	err := f.text(&text)
	v.ValueType = &pb.Value_StringValue{StringValue: text}
	return err
}

func point(message []byte) (*pb.Value_GeoPointValue, error) {
	at := &latlng.LatLng{}
	return &pb.Value_GeoPointValue{GeoPointValue: at}, fields(message, func(f field) error {
		switch {
		case f.is(pointX, protowire.Fixed64Type):
			at.Latitude = math.Float64frombits(f.integer)
		case f.is(pointY, protowire.Fixed64Type):
			at.Longitude = math.Float64frombits(f.integer)
		}
		return nil
	})
}

func (d *decoder) reference(message []byte) (*pb.Value_KeyValue, error) {
	var app, namespace string
	k := &pb.Key{}
	err := fields(message, func(f field) error {
		switch {
		case f.is(referenceApp, protowire.BytesType):
			return f.text(&app)
		case f.is(referenceNamespace, protowire.BytesType):
			return f.text(&namespace)
		case f.is(refPathElement, protowire.StartGroupType):
			return appendPathElement(k, f.bytes, refKind, refID, refName)
		}
		return nil
	})
	k.PartitionId = d.place(app, namespace)
	return &pb.Value_KeyValue{KeyValue: k}, err
}

func user(message []byte) (*pb.Value_EntityValue, error) {
	e := &pb.Entity{Properties: map[string]*pb.Value{}}
	return &pb.Value_EntityValue{EntityValue: e}, fields(message, func(f field) error {
		for name, number := range userFields() {
			if f.is(number, protowire.BytesType) {
				var text string
				if err := f.text(&text); err != nil {
					return err
				}
				e.Properties[name] = &pb.Value{ValueType: &pb.Value_StringValue{StringValue: text}, ExcludeFromIndexes: true}
			}
		}
		return nil
	})
}

// minMicros and maxMicros are the first and the last time of the API.
const (
	minMicros = -62135596800_000000
	maxMicros = 253402300799_999999
)

func timeOf(micros int64) *timestamppb.Timestamp {
	seconds, rest := micros/1e6, micros%1e6
	if rest < 0 {
		seconds, rest = seconds-1, rest+1e6
	}
	return &timestamppb.Timestamp{Seconds: seconds, Nanos: int32(rest) * 1e3}
}
