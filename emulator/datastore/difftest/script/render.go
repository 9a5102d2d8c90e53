package script

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// KeyText renders a key without its partition: A:1/B:"x".
func KeyText(k *pb.Key) string {
	var b strings.Builder
	if ns := k.GetPartitionId().GetNamespaceId(); ns != "" {
		b.WriteString("[" + ns + "]")
	}
	for i, e := range k.GetPath() {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(e.GetKind() + ":")
		switch id := e.GetIdType().(type) {
		case *pb.Key_PathElement_Id:
			b.WriteString(idText(id.Id))
		case *pb.Key_PathElement_Name:
			b.WriteString(strconv.Quote(id.Name))
		}
	}
	return b.String()
}

func idText(id int64) string {
	if step, index, ok := CutRef(id); ok {
		return fmt.Sprintf("allocated(%d.%d)", step, index)
	}
	return strconv.FormatInt(id, 10)
}

// PropertiesText renders properties by name.
func PropertiesText(props map[string]*pb.Value) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(props)) {
		parts = append(parts, strconv.Quote(name)+": "+ValueText(props[name]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// ValueText renders a value so that different values differ: 5, 5.0, "s",
// b"s", key(A:1); ~ means excluded from indexes.
func ValueText(v *pb.Value) string {
	s := valueText(v)
	if v.GetMeaning() != 0 {
		s += fmt.Sprintf(" meaning %d", v.GetMeaning())
	}
	if v.GetExcludeFromIndexes() {
		s = "~" + s
	}
	return s
}

func valueText(v *pb.Value) string {
	switch t := v.GetValueType().(type) {
	case *pb.Value_NullValue:
		return "null"
	case *pb.Value_BooleanValue:
		return strconv.FormatBool(t.BooleanValue)
	case *pb.Value_IntegerValue:
		return strconv.FormatInt(t.IntegerValue, 10)
	case *pb.Value_DoubleValue:
		return doubleText(t.DoubleValue)
	case *pb.Value_TimestampValue:
		if step, _, ok := CutRef(t.TimestampValue.GetSeconds()); ok {
			return fmt.Sprintf("time(of %d)", step)
		}
		return fmt.Sprintf("time(%d.%09d)", t.TimestampValue.GetSeconds(), t.TimestampValue.GetNanos())
	case *pb.Value_KeyValue:
		p := t.KeyValue.GetPartitionId()
		if p.GetProjectId() != Project || p.GetDatabaseId() != "" {
			return fmt.Sprintf("key(%q %q %s)", p.GetProjectId(), p.GetDatabaseId(), KeyText(t.KeyValue))
		}
		return "key(" + KeyText(t.KeyValue) + ")"
	case *pb.Value_StringValue:
		return strconv.Quote(t.StringValue)
	case *pb.Value_BlobValue:
		return "b" + strconv.Quote(string(t.BlobValue))
	case *pb.Value_GeoPointValue:
		return fmt.Sprintf("geo(%v, %v)", t.GeoPointValue.GetLatitude(), t.GeoPointValue.GetLongitude())
	case *pb.Value_EntityValue:
		s := PropertiesText(t.EntityValue.GetProperties())
		if t.EntityValue.GetKey() != nil {
			s = "key(" + KeyText(t.EntityValue.GetKey()) + ") " + s
		}
		return s
	case *pb.Value_ArrayValue:
		var parts []string
		for _, e := range t.ArrayValue.GetValues() {
			parts = append(parts, ValueText(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return "nothing"
}

func doubleText(f float64) string {
	if f == 0 && math.Signbit(f) {
		return "-0.0"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}
