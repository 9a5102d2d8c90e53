package scheduler

import (
	"slices"
	"strings"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

const maxPaths = 1000 // of a mask

// settable are the fields that clients may change, the targets being one of a
// kind. The others may be in a mask and are ignored.
func settable() []string {
	return []string{"description", "pubsub_target", "app_engine_http_target", "http_target", "schedule", "time_zone", "retry_config", "attempt_deadline"}
}

// masked checks a mask and splits its paths; an empty one and * name all that can
// be set.
func masked(mask *fieldmaskpb.FieldMask) (paths [][]string, err error) {
	names := mask.GetPaths()
	if len(names) == 0 || len(names) == 1 && names[0] == "*" {
		names = settable()
	}
	if len(names) > maxPaths {
		return nil, invalid("The update mask names %d fields; the most is %d.", len(names), maxPaths)
	}
	for _, name := range names {
		path := strings.Split(name, ".")
		if !known((*schedulerpb.Job)(nil).ProtoReflect().Descriptor(), path) {
			return nil, invalid(textMask, name)
		}
		if slices.Contains(settable(), path[0]) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

func known(message protoreflect.MessageDescriptor, path []string) bool {
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

// apply takes the fields of paths over. Of the targets, those that to has and from
// doesn't are cleared first: what sets another one must win.
func apply(to, from *schedulerpb.Job, paths [][]string) {
	for _, set := range []bool{false, true} {
		for _, path := range paths {
			field := from.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(path[0]))
			if from.ProtoReflect().Has(field) == set {
				copyPath(to.ProtoReflect(), from.ProtoReflect(), path)
			}
		}
	}
}

// copyPath sets one field, or clears it where from doesn't have it. A message
// that is left empty, and that from doesn't have, goes as well: a token without
// an account is none.
func copyPath(to, from protoreflect.Message, path []string) {
	field := to.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) > 1 && from.Has(field):
		copyPath(to.Mutable(field).Message(), from.Get(field).Message(), path[1:])
	case len(path) > 1 && to.Has(field):
		part := to.Mutable(field).Message()
		copyPath(part, from.NewField(field).Message(), path[1:])
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

// hasPath reports whether one of paths is just this one.
func hasPath(paths [][]string, path ...string) bool {
	return slices.ContainsFunc(paths, func(p []string) bool { return slices.Equal(p, path) })
}
