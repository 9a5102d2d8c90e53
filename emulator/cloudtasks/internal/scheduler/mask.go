package scheduler

import (
	"slices"
	"strings"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/mask"
)

const maxPaths = 1000 // of a mask

// settable are the fields that clients may change, the targets being one of a
// kind. The others may be in a mask and are ignored.
func settable() []string {
	return []string{"description", "pubsub_target", "app_engine_http_target", "http_target", "schedule", "time_zone", "retry_config", "attempt_deadline"}
}

// masked checks a mask and splits its paths; an empty one and * name all that can
// be set.
func masked(m *fieldmaskpb.FieldMask) (paths [][]string, err error) {
	names := m.GetPaths()
	if len(names) == 0 || len(names) == 1 && names[0] == "*" {
		names = settable()
	}
	if len(names) > maxPaths {
		return nil, invalid("The update mask names %d fields; the most is %d.", len(names), maxPaths)
	}
	for _, name := range names {
		path := strings.Split(name, ".")
		if !mask.Known((*schedulerpb.Job)(nil).ProtoReflect().Descriptor(), path) {
			return nil, invalid(textMask, name)
		}
		if slices.Contains(settable(), path[0]) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// apply takes the fields of paths over. Of the targets, those that to has and from
// doesn't are cleared first: what sets another one must win.
func apply(to, from *schedulerpb.Job, paths [][]string) {
	for _, set := range []bool{false, true} {
		for _, path := range paths {
			field := from.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(path[0]))
			if from.ProtoReflect().Has(field) == set {
				mask.Copy(to.ProtoReflect(), from.ProtoReflect(), path)
			}
		}
	}
}

// hasPath reports whether one of paths is just this one.
func hasPath(paths [][]string, path ...string) bool {
	return slices.ContainsFunc(paths, func(p []string) bool { return slices.Equal(p, path) })
}
