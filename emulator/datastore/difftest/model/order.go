package model

import (
	"bytes"
	"cmp"
	"math"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// rank is a value's place among the types.
func rank(v *pb.Value) int {
	switch v.GetValueType().(type) {
	case *pb.Value_NullValue:
		return 0
	case *pb.Value_IntegerValue, *pb.Value_TimestampValue:
		return 1
	case *pb.Value_BooleanValue:
		return 2
	case *pb.Value_StringValue, *pb.Value_BlobValue:
		return 3
	case *pb.Value_DoubleValue:
		return 4
	case *pb.Value_GeoPointValue:
		return 5
	case *pb.Value_KeyValue:
		return 6
	}
	return 7
}

// Compare orders two values as an index does.
func Compare(a, b *pb.Value) int {
	if order := cmp.Compare(rank(a), rank(b)); order != 0 {
		return order
	}
	switch rank(a) {
	case 1:
		return cmp.Compare(whole(a), whole(b))
	case 2:
		return cmp.Compare(bit(a.GetBooleanValue()), bit(b.GetBooleanValue()))
	case 3:
		return bytes.Compare(octets(a), octets(b))
	case 4:
		return compareDoubles(a.GetDoubleValue(), b.GetDoubleValue())
	case 5:
		x, y := a.GetGeoPointValue(), b.GetGeoPointValue()
		return cmp.Or(compareDoubles(x.GetLatitude(), y.GetLatitude()), compareDoubles(x.GetLongitude(), y.GetLongitude()))
	case 6:
		return CompareKeys(a.GetKeyValue(), b.GetKeyValue())
	}
	return 0
}

func whole(v *pb.Value) int64 {
	if t := v.GetTimestampValue(); t != nil {
		return t.GetSeconds()*1_000_000 + int64(t.GetNanos())/1000
	}
	return v.GetIntegerValue()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func octets(v *pb.Value) []byte {
	if s, ok := v.GetValueType().(*pb.Value_StringValue); ok {
		return []byte(s.StringValue)
	}
	return v.GetBlobValue()
}

// compareDoubles has -0 before 0, and one NaN, after everything.
func compareDoubles(x, y float64) int {
	switch {
	case math.IsNaN(x) && math.IsNaN(y):
		return 0
	case math.IsNaN(x):
		return 1
	case math.IsNaN(y):
		return -1
	case x == 0 && y == 0:
		return cmp.Compare(bit(math.Signbit(y)), bit(math.Signbit(x)))
	}
	return cmp.Compare(x, y)
}

// CompareKeys orders keys: namespaces apart, then element by element.
func CompareKeys(a, b *pb.Key) int {
	p, q := a.GetPartitionId(), b.GetPartitionId()
	if order := cmp.Or(strings.Compare(p.GetProjectId(), q.GetProjectId()), strings.Compare(p.GetDatabaseId(), q.GetDatabaseId()),
		strings.Compare(p.GetNamespaceId(), q.GetNamespaceId())); order != 0 {
		return order
	}
	for i := range min(len(a.GetPath()), len(b.GetPath())) {
		x, y := a.GetPath()[i], b.GetPath()[i]
		if order := strings.Compare(x.GetKind(), y.GetKind()); order != 0 {
			return order
		}
		xn, xNamed := x.GetIdType().(*pb.Key_PathElement_Name)
		yn, yNamed := y.GetIdType().(*pb.Key_PathElement_Name)
		switch {
		case xNamed && yNamed:
			if order := strings.Compare(xn.Name, yn.Name); order != 0 {
				return order
			}
		case xNamed:
			return 1
		case yNamed:
			return -1
		default:
			if order := cmp.Compare(x.GetId(), y.GetId()); order != 0 {
				return order
			}
		}
	}
	return cmp.Compare(len(a.GetPath()), len(b.GetPath()))
}

// isAncestor reports whether a is k itself or above it.
func isAncestor(a, k *pb.Key) bool {
	if len(a.GetPath()) > len(k.GetPath()) || a.GetPartitionId().GetNamespaceId() != k.GetPartitionId().GetNamespaceId() {
		return false
	}
	cut := &pb.Key{PartitionId: a.GetPartitionId(), Path: k.GetPath()[:len(a.GetPath())]}
	return CompareKeys(a, cut) == 0
}
