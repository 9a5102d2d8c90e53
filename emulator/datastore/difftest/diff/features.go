package diff

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Features names what a request makes use of: its fields, the values of its
// enumerations.
func Features(request proto.Message) []string {
	var all []string
	add := func(s string) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	var collect func(m protoreflect.Message)
	collect = func(m protoreflect.Message) {
		message := string(m.Descriptor().Name())
		switch message {
		case "Key", "PartitionId", "PathElement":
			return
		}
		m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			name := message + "." + string(field.Name())
			switch {
			case field.IsMap():
				v.Map().Range(func(_ protoreflect.MapKey, e protoreflect.Value) bool {
					if field.MapValue().Kind() == protoreflect.MessageKind {
						collect(e.Message())
					}
					return true
				})
			case field.Kind() == protoreflect.EnumKind && !field.IsList():
				if e := field.Enum().Values().ByNumber(v.Enum()); e != nil {
					name += " " + string(e.Name())
				}
			case field.Kind() == protoreflect.MessageKind && field.IsList():
				for i := range v.List().Len() {
					collect(v.List().Get(i).Message())
				}
			case field.Kind() == protoreflect.MessageKind:
				collect(v.Message())
			}
			add(name)
			return true
		})
	}
	collect(request.ProtoReflect())
	return all
}
