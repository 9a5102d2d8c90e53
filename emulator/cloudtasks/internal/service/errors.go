package service

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// The texts are the real service's wherever they are known.
const (
	textQueueMissing    = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
	textQueueExists     = "Queue already exists"
	textQueueTombstoned = "The queue cannot be created because a queue with this name existed too recently."
	textMissing         = "Requested entity was not found."
	textTaskExists      = "Requested entity already exists"
	textTaskTombstoned  = "The task cannot be created because a task with this name existed too recently. For more information about task de-duplication see https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks/create#body.request_body.FIELDS.task."
	textTaskEnded       = "The task no longer exists, though a task with this name existed recently. The task either successfully completed or was deleted."
	textQueueName       = `Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".`
	textLocationName    = `Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".`
	textTaskName        = `Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>".`
	textOtherQueue      = "The queue name from request ('%s') must be the same as the queue name in the named task ('%s')."
	textTooBig          = "Task size too large"
)

// Invalid is INVALID_ARGUMENT. It quotes at most 200 bytes of each text that
// came with the request: an answer that echoed megabytes would itself be refused
// on its way.
func Invalid(format string, args ...any) error {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = dispatch.Excerpt(arg)
		case error:
			args[i] = dispatch.Excerpt(arg.Error())
		}
	}
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// withHelp is Invalid with a link to the rules.
func withHelp(text, description, url string) error {
	s := status.New(codes.InvalidArgument, text)
	detailed, err := s.WithDetails(&errdetails.Help{
		Links: []*errdetails.Help_Link{{Description: description, Url: url}},
	})
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}

const referenceURL = "https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues"

func errQueueName() error {
	return withHelp(textQueueName, "Queue names", referenceURL+"#Queue.FIELDS.name")
}
func errTaskName() error {
	return withHelp(textTaskName, "Task names", referenceURL+".tasks#Task.FIELDS.name")
}
func errTaskID(id string) error {
	return withHelp(fmt.Sprintf("Task ID %q can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_). Task ID must between 1 and 500 characters.", dispatch.Excerpt(id)),
		"Task names", referenceURL+".tasks#Task.FIELDS.name")
}

// A verb tells apart calls for which the service words one condition in
// different ways.
type verb int

const (
	verbOther verb = iota
	verbDeleteQueue
	verbCreateTask
	verbGetTask
)

// toStatus turns an engine's error into the client's.
func toStatus(err error, v verb) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrQueueMissing) && v == verbDeleteQueue:
		return status.Error(codes.NotFound, textMissing)
	case errors.Is(err, engine.ErrQueueMissing):
		return status.Error(codes.NotFound, textQueueMissing)
	case errors.Is(err, engine.ErrQueueExists):
		return status.Error(codes.AlreadyExists, textQueueExists)
	case errors.Is(err, engine.ErrQueueTombstoned):
		return status.Error(codes.FailedPrecondition, textQueueTombstoned)
	case errors.Is(err, engine.ErrTooManyQueues):
		return status.Errorf(codes.ResourceExhausted, "A location can hold %d queues, and this one does.", engine.MaxQueues)
	case errors.Is(err, engine.ErrTaskExists):
		return status.Error(codes.AlreadyExists, textTaskExists)
	case errors.Is(err, engine.ErrTaskTombstoned) && v == verbCreateTask:
		return status.Error(codes.AlreadyExists, textTaskTombstoned)
	case errors.Is(err, engine.ErrTaskTombstoned) && v == verbGetTask:
		return status.Error(codes.NotFound, textTaskEnded)
	case errors.Is(err, engine.ErrTaskTombstoned), errors.Is(err, engine.ErrTaskMissing):
		return status.Error(codes.NotFound, textMissing)
	case errors.Is(err, engine.ErrTooManyForced):
		return status.Error(codes.ResourceExhausted, "Too many tasks are running; RunTask can't start another one now.")
	case errors.Is(err, engine.ErrQueueType):
		return status.Error(codes.FailedPrecondition, "Tasks of pull queues are leased and acknowledged, all others are run: the queue is not of the type that this call is for.")
	case errors.Is(err, engine.ErrPaused):
		return status.Error(codes.FailedPrecondition, "The queue is paused: its tasks can't be leased.")
	case errors.Is(err, engine.ErrLeaseLost):
		return status.Error(codes.FailedPrecondition, "The lease is not held: it has ended, or the schedule_time of the request is not that of the task.")
	case errors.Is(err, engine.ErrTooManyLeases):
		return status.Error(codes.ResourceExhausted, "LeaseTasks can be called 10 times a second for a queue.")
	case errors.Is(err, engine.ErrTooMuchKept):
		return status.Error(codes.ResourceExhausted, "The policies and configurations are too big together to be kept.")
	case errors.Is(err, engine.ErrClosed):
		return status.Error(codes.Unavailable, "The server is shutting down.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Errorf(codes.Internal, "The change could not be recorded: %v", err)
}
