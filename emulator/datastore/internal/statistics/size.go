package statistics

import pb "cloud.google.com/go/datastore/apiv1/datastorepb"

// What an entity, a key and an index entry take beside their parts.
const (
	entityOverhead = 32
	keyOverhead    = 16
	entryOverhead  = 32
)

// textSize is the size of kinds, names, namespaces, property names and strings.
func textSize(s string) int64 { return int64(len(s)) + 1 }

func keySize(k *pb.Key) int64 {
	size := int64(keyOverhead)
	if namespace := k.GetPartitionId().GetNamespaceId(); namespace != "" {
		size += textSize(namespace)
	}
	for _, e := range k.GetPath() {
		size += textSize(e.GetKind())
		switch id := e.GetIdType().(type) {
		case *pb.Key_PathElement_Id:
			size += 8
		case *pb.Key_PathElement_Name:
			size += textSize(id.Name)
		}
	}
	return size
}

// entitySize is the size of a stored entity, or of an embedded one, which may
// have no key.
func entitySize(e *pb.Entity) int64 {
	size := int64(entityOverhead)
	if e.GetKey() != nil {
		size += keySize(e.GetKey())
	}
	for name, v := range e.GetProperties() {
		size += textSize(name) + valueSize(v)
	}
	return size
}

func valueSize(v *pb.Value) int64 {
	switch x := v.GetValueType().(type) {
	case *pb.Value_ArrayValue:
		var size int64
		for _, element := range x.ArrayValue.GetValues() {
			size += valueSize(element)
		}
		return size
	case *pb.Value_EntityValue:
		return entitySize(x.EntityValue)
	case *pb.Value_StringValue:
		return textSize(x.StringValue)
	case *pb.Value_BlobValue:
		return int64(len(x.BlobValue))
	case *pb.Value_KeyValue:
		return keySize(x.KeyValue)
	case *pb.Value_GeoPointValue:
		return 16
	case *pb.Value_IntegerValue, *pb.Value_DoubleValue, *pb.Value_TimestampValue:
		return 8
	}
	return 1 // booleans and null
}

// isVector reports whether a list is a vector, which counts as one value.
func isVector(v *pb.Value) bool {
	const meaningVector = 31
	return v.GetMeaning() == meaningVector
}

// typeName is what statistics call the type of a value that is no list, unless
// it is a vector.
func typeName(v *pb.Value, unindexed bool) string {
	switch v.GetValueType().(type) {
	case *pb.Value_NullValue:
		return "NULL"
	case *pb.Value_BooleanValue:
		return "Boolean"
	case *pb.Value_IntegerValue:
		return "Integer"
	case *pb.Value_DoubleValue:
		return "Float"
	case *pb.Value_TimestampValue:
		return "Date/Time"
	case *pb.Value_KeyValue:
		return "Key"
	case *pb.Value_GeoPointValue:
		return "GeoPt"
	case *pb.Value_EntityValue:
		return "EmbeddedEntity"
	case *pb.Value_ArrayValue:
		return "Vector"
	case *pb.Value_StringValue:
		if unindexed {
			return "Text"
		}
		return "String"
	case *pb.Value_BlobValue:
		if unindexed {
			return "Blob"
		}
		return "ShortBlob"
	}
	return "Unknown"
}
