package protocol

import (
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
)

const (
	maxIndexed = 1500 // bytes of an indexed string or blob
	maxNesting = 20
	minTime    = -62135596800
	maxTime    = 253402300799
)

// properties checks the properties of an entity and brings their values into
// the form in which they are stored: times in whole microseconds. Of several
// that are wrong, the error is about the first in the order of names.
func (p partition) properties(props map[string]*pb.Value, depth int, unindexed bool) error {
	if depth > maxNesting {
		return invalid("At most %d nested entity values are supported.", maxNesting)
	}
	var first error
	var wrong string
	for name, v := range props {
		if first != nil && name > wrong {
			continue
		}
		if err := p.property(name, v, depth, unindexed); err != nil {
			first, wrong = err, name
		}
	}
	return first
}

func (p partition) property(name string, v *pb.Value, depth int, unindexed bool) error {
	if err := checkName("The property.name", name); err != nil {
		return err
	}
	return p.value(name, v, depth, unindexed, false)
}

func (p partition) value(name string, v *pb.Value, depth int, unindexed, inArray bool) error {
	unindexed = unindexed || v.GetExcludeFromIndexes()
	if err := checkMeaning(name, v, unindexed); err != nil {
		return err
	}
	switch t := v.GetValueType().(type) {
	case nil:
		return invalid("The value %q does not contain a value.", name)
	case *pb.Value_StringValue:
		if err := checkLength(name, len(t.StringValue), unindexed); err != nil {
			return err
		}
	case *pb.Value_BlobValue:
		if err := checkLength(name, len(t.BlobValue), unindexed); err != nil {
			return err
		}
	case *pb.Value_TimestampValue:
		ts := t.TimestampValue
		if ts.GetNanos() < 0 || ts.GetNanos() > 999_999_999 {
			return invalid("Timestamp nanos exceeds limit for field")
		}
		if ts.GetSeconds() < minTime || ts.GetSeconds() > maxTime {
			return invalid("Timestamp seconds exceeds limit for field")
		}
		if ts != nil {
			ts.Nanos -= ts.Nanos % 1000
		}
	case *pb.Value_GeoPointValue:
		if err := checkAngle("latitude", t.GeoPointValue.GetLatitude(), 90); err != nil {
			return err
		}
		if err := checkAngle("longitude", t.GeoPointValue.GetLongitude(), 180); err != nil {
			return err
		}
	case *pb.Value_KeyValue:
		if err := p.keyValue(t.KeyValue); err != nil {
			return err
		}
	case *pb.Value_EntityValue:
		if k := t.EntityValue.GetKey(); k != nil {
			if _, err := p.foreignKey(k); err != nil {
				return err
			}
		}
		return p.properties(t.EntityValue.GetProperties(), depth+1, unindexed)
	case *pb.Value_ArrayValue:
		switch {
		case inArray:
			return invalid("list_value cannot contain a Value containing another list_value.")
		case v.GetMeaning() == meaningVector:
			return checkVector(v)
		case v.GetExcludeFromIndexes():
			return invalid("Exclude from indexes cannot be set on a list value")
		}
		for _, elem := range t.ArrayValue.GetValues() {
			if err := p.value(name, elem, depth, unindexed, true); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

func checkAngle(what string, degrees, limit float64) error {
	switch {
	case math.IsNaN(degrees):
		return invalid("Geo point %s is not a number.", what)
	case math.Abs(degrees) > limit:
		return invalid("Geo point %s outside permitted range -%.1f to %.1f.", what, limit, limit)
	}
	return nil
}

// Meanings that are more than a hint.
const (
	meaningText    = 15 // not indexed
	meaningIndexed = 18 // came out of an index
	meaningZlib    = 22 // not indexed
	meaningVector  = 31
)

// checkMeaning checks a value's meaning as Google's emulator does: each goes with
// one type of value. Most are left from App Engine.
func checkMeaning(name string, v *pb.Value, unindexed bool) error {
	meaning := v.GetMeaning()
	_, array := v.GetValueType().(*pb.Value_ArrayValue)
	switch {
	case meaning == 0 || v.GetValueType() == nil:
		return nil
	case meaning == meaningIndexed:
		return invalid("Projection property cannot be used.")
	case array && meaning == meaningVector:
		return nil
	case array:
		return invalid("A Value containing a list_value cannot specify a meaning.")
	}
	var ok bool
	var field string
	switch meaning {
	case 1, 2, 3, 4, 5, 6, 8, 10, 11, 12, meaningText, 17, 32, 34:
		field = "string_value"
		_, ok = v.GetValueType().(*pb.Value_StringValue)
	case 7, 13, 29, 30, 36:
		field = "integer_value"
		_, ok = v.GetValueType().(*pb.Value_IntegerValue)
	case 16, 19, meaningZlib, 33:
		field = "blob_value"
		_, ok = v.GetValueType().(*pb.Value_BlobValue)
	case 20, 35, 37:
		field = "entity_value"
		_, ok = v.GetValueType().(*pb.Value_EntityValue)
	case 23:
		field = "geo_point_value"
		_, ok = v.GetValueType().(*pb.Value_GeoPointValue)
	case meaningVector:
		field = "vector"
	case 38, 39:
		field = "null_value"
		_, ok = v.GetValueType().(*pb.Value_NullValue)
	case 9, 14, 21, 24, 25, 26, 27, 28:
		return invalid("Unexpected value meaning %d.", meaning)
	default:
		return invalid("Unknown value meaning %d.", meaning)
	}
	switch {
	case !ok:
		return invalid("Value %q has a meaning %d which does not match %s field.", texts.Quote(name), meaning, field)
	case !unindexed && (meaning == meaningText || meaning == meaningZlib):
		return invalid("Indexed value has meaning %d.", meaning)
	}
	return nil
}

// checkVector checks an array that is a vector: its elements have nothing but
// their numbers, so what else they carry is dropped.
func checkVector(v *pb.Value) error {
	values := v.GetArrayValue().GetValues()
	switch {
	case !v.GetExcludeFromIndexes():
		return invalid("Vector's must be excluded from indexes.")
	case len(values) == 0:
		return invalid("Cannot have a zero length vector.")
	case len(values) > maxDimensions:
		return invalid("Vectors must be at most %d dimensions.", maxDimensions)
	}
	for _, elem := range values {
		d, ok := elem.GetValueType().(*pb.Value_DoubleValue)
		switch {
		case !ok:
			return invalid("Vector must only contain values of type 'double'.")
		case math.IsNaN(d.DoubleValue):
			return invalid("Vector cannot contain NaN values.")
		}
		elem.Meaning, elem.ExcludeFromIndexes = 0, false
	}
	return nil
}

func checkLength(name string, n int, unindexed bool) error {
	limit := maxIndexed
	if unindexed {
		limit = storedLimit
	}
	if n > limit {
		return invalid("The value of property %q is longer than %d bytes.", name, limit)
	}
	return nil
}

// storedLimit is what production documents for unindexed values; the proto
// says 1,000,000, which both of Google's emulators exceed.
const storedLimit = 1_048_487
