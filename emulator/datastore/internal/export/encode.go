package export

import (
	"maps"
	"math"
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// AppendEntity appends e as an EntityProto, whose key names its project.
// Properties follow in the order of their names, the elements of an array in
// theirs.
func AppendEntity(dst []byte, e *pb.Entity) []byte {
	k := e.GetKey()
	dst = appendMessage(dst, entityKey, func(dst []byte) []byte {
		dst = appendString(dst, referenceApp, k.GetPartitionId().GetProjectId())
		dst = appendMessage(dst, referencePath, func(dst []byte) []byte { return appendPath(dst, k.GetPath()) })
		if ns := k.GetPartitionId().GetNamespaceId(); ns != "" {
			dst = appendString(dst, referenceNamespace, ns)
		}
		return dst
	})
	for _, name := range slices.Sorted(maps.Keys(e.GetProperties())) {
		dst = appendProperties(dst, name, e.GetProperties()[name])
	}
	return appendMessage(dst, entityGroup, func(dst []byte) []byte {
		return appendPath(dst, k.GetPath()[:min(1, len(k.GetPath()))])
	})
}

func appendPath(dst []byte, path []*pb.Key_PathElement) []byte {
	for _, e := range path {
		dst = appendElement(dst, e, pathElement, elementKind, elementID, elementName)
	}
	return dst
}

func appendElement(dst []byte, e *pb.Key_PathElement, group, kind, id, name protowire.Number) []byte {
	dst = protowire.AppendTag(dst, group, protowire.StartGroupType)
	dst = appendString(dst, kind, e.GetKind())
	switch t := e.GetIdType().(type) {
	case *pb.Key_PathElement_Id:
		dst = appendNumber(dst, id, t.Id)
	case *pb.Key_PathElement_Name:
		dst = appendString(dst, name, t.Name)
	}
	return protowire.AppendTag(dst, group, protowire.EndGroupType)
}

// appendProperties appends one Property or, for an array, one for each element.
func appendProperties(dst []byte, name string, v *pb.Value) []byte {
	array, ok := v.GetValueType().(*pb.Value_ArrayValue)
	if !ok {
		return appendProperty(dst, name, v, false)
	}
	elements := array.ArrayValue.GetValues()
	if len(elements) == 0 {
		return appendProperty(dst, name, &pb.Value{Meaning: meaningEmptyList}, false)
	}
	for _, element := range elements {
		if v.GetMeaning() == meaningVector {
			element = &pb.Value{ValueType: element.GetValueType(), Meaning: meaningVector, ExcludeFromIndexes: true}
		}
		dst = appendProperty(dst, name, element, true)
	}
	return dst
}

func appendProperty(dst []byte, name string, v *pb.Value, multiple bool) []byte {
	number := protowire.Number(entityProperty)
	if v.GetExcludeFromIndexes() {
		number = entityRawProperty
	}
	return appendMessage(dst, number, func(dst []byte) []byte {
		meaning, uri := meaningOf(v)
		if meaning != meaningNone {
			dst = appendNumber(dst, propMeaning, meaning)
		}
		if uri != "" {
			dst = appendString(dst, propURI, uri)
		}
		dst = appendString(dst, propName, name)
		dst = appendNumber(dst, propMultiple, protowire.EncodeBool(multiple))
		return appendMessage(dst, propValue, func(dst []byte) []byte { return appendValue(dst, v) })
	})
}

// meaningOf is the meaning that tells v's type, or the one that it has.
func meaningOf(v *pb.Value) (meaning int32, uri string) {
	switch v.GetValueType().(type) {
	case *pb.Value_TimestampValue:
		return meaningTime, ""
	case *pb.Value_GeoPointValue:
		if v.GetMeaning() == meaningPlainPoint {
			return meaningNone, ""
		}
		return meaningPoint, ""
	case *pb.Value_BlobValue:
		switch {
		case v.GetMeaning() == meaningZlib:
			return meaningBlob, uriZlib
		case v.GetExcludeFromIndexes():
			return meaningBlob, ""
		}
		return meaningBytes, ""
	case *pb.Value_EntityValue:
		if v.GetMeaning() == meaningUser {
			return meaningNone, ""
		}
		return meaningEntity, ""
	}
	return v.GetMeaning(), ""
}

func appendValue(dst []byte, v *pb.Value) []byte {
	switch t := v.GetValueType().(type) {
	case *pb.Value_BooleanValue:
		dst = appendNumber(dst, valueBool, protowire.EncodeBool(t.BooleanValue))
	case *pb.Value_IntegerValue:
		dst = appendNumber(dst, valueInt, t.IntegerValue)
	case *pb.Value_DoubleValue:
		dst = appendDouble(dst, valueDouble, t.DoubleValue)
	case *pb.Value_TimestampValue:
		dst = appendNumber(dst, valueInt, micros(t.TimestampValue))
	case *pb.Value_StringValue:
		dst = appendString(dst, valueString, t.StringValue)
	case *pb.Value_BlobValue:
		dst = appendString(dst, valueString, string(t.BlobValue))
	case *pb.Value_GeoPointValue:
		dst = protowire.AppendTag(dst, valuePoint, protowire.StartGroupType)
		dst = appendDouble(dst, pointX, t.GeoPointValue.GetLatitude())
		dst = appendDouble(dst, pointY, t.GeoPointValue.GetLongitude())
		dst = protowire.AppendTag(dst, valuePoint, protowire.EndGroupType)
	case *pb.Value_KeyValue:
		dst = appendReference(dst, t.KeyValue)
	case *pb.Value_EntityValue:
		if v.GetMeaning() == meaningUser {
			return appendUser(dst, t.EntityValue)
		}
		dst = appendMessage(dst, valueString, func(dst []byte) []byte { return AppendEntity(dst, t.EntityValue) })
	}
	return dst // null has no field
}

func appendReference(dst []byte, k *pb.Key) []byte {
	dst = protowire.AppendTag(dst, valueReference, protowire.StartGroupType)
	dst = appendString(dst, referenceApp, k.GetPartitionId().GetProjectId())
	for _, e := range k.GetPath() {
		dst = appendElement(dst, e, refPathElement, refKind, refID, refName)
	}
	if ns := k.GetPartitionId().GetNamespaceId(); ns != "" {
		dst = appendString(dst, referenceNamespace, ns)
	}
	return protowire.AppendTag(dst, valueReference, protowire.EndGroupType)
}

// userFields are the properties of a user, which the API has as an entity.
func userFields() map[string]protowire.Number {
	return map[string]protowire.Number{"email": userEmail, "auth_domain": userAuthDomain, "user_id": userID,
		"federated_identity": userIdentity, "federated_provider": userProvider}
}

func appendUser(dst []byte, user *pb.Entity) []byte {
	dst = protowire.AppendTag(dst, valueUser, protowire.StartGroupType)
	properties := user.GetProperties()
	for _, name := range []string{"email", "auth_domain"} {
		dst = appendString(dst, userFields()[name], properties[name].GetStringValue())
	}
	dst = appendNumber(dst, userGaia, int64(0))
	for _, name := range []string{"user_id", "federated_identity", "federated_provider"} {
		if v, ok := properties[name]; ok {
			dst = appendString(dst, userFields()[name], v.GetStringValue())
		}
	}
	return protowire.AppendTag(dst, valueUser, protowire.EndGroupType)
}

func appendMessage(dst []byte, number protowire.Number, f func([]byte) []byte) []byte {
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	return protowire.AppendBytes(dst, f(nil))
}

func appendString(dst []byte, number protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, number, protowire.BytesType), s)
}

func appendNumber[T int32 | int64 | uint64](dst []byte, number protowire.Number, n T) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.VarintType), uint64(n))
}

func appendDouble(dst []byte, number protowire.Number, f float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(dst, number, protowire.Fixed64Type), math.Float64bits(f))
}

// micros is the time in microseconds, rounded down.
func micros(t *timestamppb.Timestamp) int64 {
	return t.GetSeconds()*1e6 + int64(t.GetNanos())/1e3
}
