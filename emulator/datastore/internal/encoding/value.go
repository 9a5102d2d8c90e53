package encoding

import (
	"encoding/binary"
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/types/known/structpb"
)

// Type tags in Datastore's order of types. Integers and timestamps share one
// tag, as do strings and blobs: their values interleave, and an index row
// doesn't tell them apart.
const (
	tagNull   = 0x05
	tagInt    = 0x10
	tagFalse  = 0x18
	tagTrue   = 0x19
	tagText   = 0x20
	tagDouble = 0x30
	tagGeo    = 0x40
	tagKey    = 0x50
)

// AppendValue appends the index form of v; ok is false, and dst unchanged, for
// what has no index row of its own: arrays, entities and values without a type.
// Keys without a project belong to the given one.
func AppendValue(dst []byte, v *pb.Value, project string) (_ []byte, ok bool) {
	switch x := v.GetValueType().(type) {
	case *pb.Value_NullValue:
		return append(dst, tagNull), true
	case *pb.Value_IntegerValue:
		return appendInt(dst, x.IntegerValue), true
	case *pb.Value_TimestampValue:
		t := x.TimestampValue
		return appendInt(dst, t.GetSeconds()*1e6+int64(t.GetNanos())/1e3), true
	case *pb.Value_BooleanValue:
		if x.BooleanValue {
			return append(dst, tagTrue), true
		}
		return append(dst, tagFalse), true
	case *pb.Value_StringValue:
		return appendText(append(dst, tagText), x.StringValue), true
	case *pb.Value_BlobValue:
		return appendText(append(dst, tagText), string(x.BlobValue)), true
	case *pb.Value_DoubleValue:
		return appendDouble(append(dst, tagDouble), x.DoubleValue), true
	case *pb.Value_GeoPointValue:
		dst = appendDouble(append(dst, tagGeo), x.GeoPointValue.GetLatitude())
		return appendDouble(dst, x.GeoPointValue.GetLongitude()), true
	case *pb.Value_KeyValue:
		return appendKey(append(dst, tagKey), x.KeyValue, project), true
	}
	return dst, false
}

func appendInt(dst []byte, i int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tagInt), uint64(i)^1<<63)
}

// appendDouble orders -Inf … -0 < +0 … +Inf, and then every NaN as one value.
func appendDouble(dst []byte, f float64) []byte {
	if math.IsNaN(f) {
		return binary.BigEndian.AppendUint64(dst, math.MaxUint64)
	}
	bits := math.Float64bits(f)
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(dst, bits)
}

func cutDouble(s string) (f float64, rest string, err error) {
	if len(s) < 8 {
		return 0, "", errCorrupt
	}
	bits := binary.BigEndian.Uint64([]byte(s[:8]))
	switch {
	case bits == math.MaxUint64:
		return math.NaN(), s[8:], nil
	case bits>>63 == 1:
		bits &^= 1 << 63
	default:
		bits = ^bits
	}
	return math.Float64frombits(bits), s[8:], nil
}

// CutValue decodes the index form of a value and returns what follows it. The
// index form has lost what distinguishes timestamps from integers and blobs
// from strings, which is what projections show as well.
func CutValue(s string) (v *pb.Value, rest string, err error) {
	if s == "" {
		return nil, "", errCorrupt
	}
	tag := s[0]
	s = s[1:]
	switch tag {
	case tagNull:
		return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}, s, nil
	case tagInt:
		if len(s) < 8 {
			return nil, "", errCorrupt
		}
		i := int64(binary.BigEndian.Uint64([]byte(s[:8])) ^ 1<<63)
		return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: i}}, s[8:], nil
	case tagFalse, tagTrue:
		return &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: tag == tagTrue}}, s, nil
	case tagText:
		text, rest, err := cutText(s)
		if err != nil {
			return nil, "", err
		}
		return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: text}}, rest, nil
	case tagDouble:
		f, rest, err := cutDouble(s)
		if err != nil {
			return nil, "", err
		}
		return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: f}}, rest, nil
	case tagGeo:
		lat, rest, err := cutDouble(s)
		if err != nil {
			return nil, "", err
		}
		lng, rest, err := cutDouble(rest)
		if err != nil {
			return nil, "", err
		}
		p := &latlng.LatLng{Latitude: lat, Longitude: lng}
		return &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: p}}, rest, nil
	case tagKey:
		k, rest, err := cutKey(s)
		if err != nil {
			return nil, "", err
		}
		return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: k}}, rest, nil
	}
	return nil, "", errCorrupt
}
