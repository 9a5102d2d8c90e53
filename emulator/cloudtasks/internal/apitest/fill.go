package apitest

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Fill sets every field of m that is unset, each to another value, down to the
// last part. Of a oneof it sets the member at index choose, counted over and
// over; a member that is set stays.
func Fill(m proto.Message, choose int) {
	f := filler{choose: choose}
	f.message(m.ProtoReflect())
}

type filler struct{ choose, n int }

func (f *filler) message(m protoreflect.Message) {
	f.n++
	switch m.Interface().(type) {
	case *timestamppb.Timestamp, *durationpb.Duration:
		m.Set(m.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(int64(f.n)))
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if o := field.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if m.WhichOneof(o) != nil || o.Fields().Get(f.choose%o.Fields().Len()) != field {
				continue
			}
		}
		switch {
		case m.Has(field):
		case field.IsMap():
			m.Mutable(field).Map().Set(f.scalar(field.MapKey()).MapKey(), f.scalar(field.MapValue()))
		case field.IsList() && field.Message() != nil:
			f.message(m.Mutable(field).List().AppendMutable().Message())
		case field.IsList():
			m.Mutable(field).List().Append(f.scalar(field))
		case field.Message() != nil:
			f.message(m.Mutable(field).Message())
		default:
			m.Set(field, f.scalar(field))
		}
	}
}

func (f *filler) scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	f.n++
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(f.n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(f.n) / 4)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(fmt.Appendf(nil, "bytes %d", f.n))
	}
	return protoreflect.ValueOfString(fmt.Sprintf("text %d", f.n))
}
