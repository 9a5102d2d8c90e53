package cloudtasks

import (
	"context"
	"errors"
	"slices"
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// settable are the fields of a queue that clients may change. The name and what
// is output only may be in a mask, and are ignored.
var settable = []string{
	"app_engine_routing_override", "http_target", "rate_limits", "retry_config", "stackdriver_logging_config",
}

// UpdateQueue implements google.cloud.tasks.v2: it changes the fields in the
// mask, down to single ones of rate_limits and the like, or all fields when the
// mask is empty. A missing queue is created.
func (s *service) UpdateQueue(_ context.Context, r *cloudtaskspb.UpdateQueueRequest) (*cloudtaskspb.Queue, error) {
	wanted := r.GetQueue()
	if wanted == nil {
		return nil, invalid("Queue is required.")
	}
	if !validQueue(wanted.GetName()) {
		return nil, errQueueName()
	}
	paths := r.GetUpdateMask().GetPaths()
	for _, path := range paths {
		if err := checkPath(path); err != nil {
			return nil, err
		}
	}
	if err := checkQueue(wanted); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		paths = settable
	}
	change := func(d *engine.Queue) error {
		q, err := queueMessage(*d)
		if err != nil {
			return err
		}
		if err := masked(q, wanted, paths); err != nil {
			return err
		}
		d.Settings = settingsOf(q)
		d.Spec, err = queueSpec(q)
		return err
	}
	d, err := s.engine.UpdateQueue(wanted.GetName(), change)
	if !errors.Is(err, engine.ErrQueueMissing) {
		return answerQueue(d, err)
	}
	q := &cloudtaskspb.Queue{Name: wanted.GetName()}
	withDefaults(q, false)
	if err := masked(q, wanted, paths); err != nil {
		return nil, err
	}
	created, err := s.createQueue(q)
	if status.Code(err) == codes.AlreadyExists { // since a moment ago
		return answerQueue(s.engine.UpdateQueue(wanted.GetName(), change))
	}
	return created, err
}

// masked takes over the fields of paths, and fills in the defaults of what they
// clear.
func masked(q, from *cloudtaskspb.Queue, paths []string) error {
	for _, path := range paths {
		if slices.Contains(settable, strings.SplitN(path, ".", 2)[0]) {
			copyPath(q.ProtoReflect(), proto.CloneOf(from).ProtoReflect(), strings.Split(path, "."))
		}
	}
	if err := checkQueue(q); err != nil { // fields that don't go with those that stayed
		return err
	}
	withDefaults(q, !slices.Contains(paths, "retry_config")) // 0 doublings are there on purpose
	return nil
}

// checkPath refuses a path that no field of a queue has.
func checkPath(path string) error {
	message := (*cloudtaskspb.Queue)(nil).ProtoReflect().Descriptor()
	for part := range strings.SplitSeq(path, ".") {
		var field protoreflect.FieldDescriptor
		if message != nil {
			field = message.Fields().ByName(protoreflect.Name(part))
		}
		if field == nil {
			return invalid("The update mask names %q, which is not a field of a queue.", path)
		}
		message = nil
		if field.Message() != nil && !field.IsList() && !field.IsMap() {
			message = field.Message()
		}
	}
	return nil
}

// copyPath sets one field, or clears it where from doesn't have it.
func copyPath(to, from protoreflect.Message, path []string) {
	field := to.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) > 1 && (from.Has(field) || to.Has(field)):
		copyPath(to.Mutable(field).Message(), from.Mutable(field).Message(), path[1:])
	case len(path) > 1:
	case from.Has(field):
		to.Set(field, from.Get(field))
	default:
		to.Clear(field)
	}
}
