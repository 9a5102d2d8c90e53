package service

import "google.golang.org/protobuf/reflect/protoreflect"

// Copy sets the fields of a message from those of another one with the same
// name and kind, and so on in what they hold: the messages of the versions
// differ in numbers more than in names. Bytes are shared.
func Copy(to, from protoreflect.ProtoMessage) { copyMessage(to.ProtoReflect(), from.ProtoReflect()) }

func copyMessage(to, from protoreflect.Message) {
	fields := to.Descriptor().Fields()
	from.Range(func(source protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		target := fields.ByName(source.Name())
		if target == nil || target.Kind() != source.Kind() || target.Cardinality() != source.Cardinality() || target.IsMap() != source.IsMap() {
			return true
		}
		switch {
		case target.IsMap():
			entries := to.Mutable(target).Map()
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				if target.MapValue().Message() == nil {
					entries.Set(k, v)
				} else {
					entry := entries.NewValue()
					copyMessage(entry.Message(), v.Message())
					entries.Set(k, entry)
				}
				return true
			})
		case target.IsList():
			elements := to.Mutable(target).List()
			for i := range v.List().Len() {
				if target.Message() == nil {
					elements.Append(v.List().Get(i))
				} else {
					copyMessage(elements.AppendMutable().Message(), v.List().Get(i).Message())
				}
			}
		case target.Message() != nil:
			copyMessage(to.Mutable(target).Message(), v.Message())
		default:
			to.Set(target, v)
		}
		return true
	})
}
