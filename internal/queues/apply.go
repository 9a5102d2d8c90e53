package queues

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	beta "cloud.google.com/go/cloudtasks/apiv2beta3"
	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// Options tune Apply; nil is the zero value.
type Options struct {
	PauseOmitted bool         // pause the queues that the file leaves out, as a deploy does
	Done         func(Change) // is told of each change that was made; nil: nobody is
}

// Apply makes the changes to the queues of parent. It goes on after an error, and
// leaves what is Omitted alone unless Options say otherwise.
func Apply(ctx context.Context, c *beta.Client, parent string, changes []Change, o *Options) error {
	if o == nil {
		o = new(Options)
	}
	var errs []error
	failed := "" // the queue whose further changes rest on one that failed
	for _, change := range changes {
		if change.Queue == failed || change.Action == Omitted && !o.PauseOmitted {
			continue
		}
		if err := apply(ctx, c, parent, change); err != nil {
			failed = change.Queue
			errs = append(errs, explain(change, err))
			continue
		}
		if change.Action == Omitted {
			change.Action, change.Why = Pause, "the file leaves it out"
		}
		if o.Done != nil {
			o.Done(change)
		}
	}
	return errors.Join(errs...)
}

func apply(ctx context.Context, c *beta.Client, parent string, change Change) (err error) {
	name := parent + "/queues/" + change.Queue
	switch change.Action {
	case Create, Update:
		q := proto.CloneOf(change.entry.Queue)
		q.Name = name
		_, err = c.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{Queue: q, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths(change)}})
	case Pause, Omitted:
		_, err = c.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: name})
	case Resume:
		_, err = c.ResumeQueue(ctx, &cloudtaskspb.ResumeQueueRequest{Name: name})
	case Conflict:
		err = errors.New(change.Why)
	}
	return err
}

// paths is the mask of a change. A queue is created by an update as well, as a
// deploy does it: only a mask can say that a zero is meant.
func paths(change Change) (mask []string) {
	const rate, burst = "rate_limits.max_dispatches_per_second", "rate_limits.max_burst_size"
	for _, f := range change.Fields {
		mask = append(mask, f.Field)
	}
	if slices.Contains(mask, rate) && !slices.Contains(mask, burst) {
		mask = append(mask, burst) // a new rate would bring a burst of the service's own
	}
	if change.Action == Create {
		mask = append(mask, "task_ttl", "tombstone_ttl")
		if change.entry.Queue.GetType() == cloudtaskspb.Queue_PULL {
			mask = append(mask, "type")
		}
	}
	return mask
}

// explain says which queue, which rule, and how to go on.
func explain(change Change, err error) error {
	what := fmt.Sprintf("queue %s: %s", change.Queue, change.Action)
	if change.Line > 0 {
		what += fmt.Sprintf(" (line %d)", change.Line)
	}
	switch code := status.Code(err); {
	case change.Action == Conflict:
		return fmt.Errorf("queue %s (line %d): %w", change.Queue, change.Line, err)
	case code == codes.FailedPrecondition && strings.Contains(err.Error(), "existed too recently"):
		return fmt.Errorf("%s: a queue of this name was deleted lately, and Cloud Tasks keeps such names for up to 3 days (older documents say 7): apply again then, or give the queue another name in the file and in the classes that use it (the service says: %w)", what, err)
	case code == codes.PermissionDenied:
		return fmt.Errorf("%s: it takes the role roles/cloudtasks.queueAdmin: %w", what, err)
	case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Canceled, code == codes.Unknown:
		return fmt.Errorf("%s: it may have been made or not; `latchwork queues diff` tells: %w", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}
