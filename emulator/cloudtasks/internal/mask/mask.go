package mask

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Known reports whether a path names a field of a message, or a part of one. It
// doesn't lead into lists and maps.
func Known(message protoreflect.MessageDescriptor, path []string) bool {
	for _, name := range path {
		if message == nil {
			return false
		}
		field := message.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			return false
		}
		message = nil
		if field.Message() != nil && !field.IsList() && !field.IsMap() {
			message = field.Message()
		}
	}
	return true
}

// Copy sets the field that a known path names, or clears it where from doesn't
// have it. A message that it leaves empty, and that from doesn't have, goes as
// well: a token without an account is none.
func Copy(to, from protoreflect.Message, path []string) {
	field := to.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) > 1 && from.Has(field):
		Copy(to.Mutable(field).Message(), from.Get(field).Message(), path[1:])
	case len(path) > 1 && to.Has(field):
		part := to.Mutable(field).Message()
		Copy(part, from.NewField(field).Message(), path[1:])
		if proto.Size(part.Interface()) == 0 {
			to.Clear(field)
		}
	case len(path) > 1:
	case from.Has(field):
		to.Set(field, from.Get(field))
	default:
		to.Clear(field)
	}
}
