package taskstest

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/tasks"
)

// Queue is a tasks.Submitter that remembers. The zero value is ready; it is
// safe for concurrent use.
type Queue struct {
	// Refuse, when set, is asked first; its error is CreateTask's.
	Refuse func(*cloudtaskspb.CreateTaskRequest) error

	mu    sync.Mutex
	names map[string]bool
	tasks []Task
}

// Task is what was enqueued.
type Task struct {
	Name     string // short
	Queue    string // short
	Envelope tasks.Envelope
	Due      time.Time // zero: at once
	Request  *cloudtaskspb.CreateTaskRequest
}

// CreateTask remembers a task; ALREADY_EXISTS when its name was used before.
func (q *Queue) CreateTask(ctx context.Context, req *cloudtaskspb.CreateTaskRequest, _ ...gax.CallOption) (*cloudtaskspb.Task, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	if q.Refuse != nil {
		if err := q.Refuse(req); err != nil {
			return nil, err
		}
	}
	body := req.GetTask().GetHttpRequest().GetBody()
	if r := req.GetTask().GetAppEngineHttpRequest(); r != nil {
		body = r.GetBody()
	}
	e, err := tasks.DecodeEnvelope(body)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	name := req.GetTask().GetName()
	if q.names[name] {
		return nil, status.Error(codes.AlreadyExists, "Requested entity already exists")
	}
	if q.names == nil {
		q.names = make(map[string]bool)
	}
	q.names[name] = true
	t := Task{Name: path.Base(name), Queue: path.Base(req.GetParent()), Envelope: e, Request: req}
	if s := req.GetTask().GetScheduleTime(); s != nil {
		t.Due = s.AsTime()
	}
	q.tasks = append(q.tasks, t)
	return req.GetTask(), nil
}

// Tasks returns what was enqueued, in order of creation; of one class, or of
// all when class is "".
func (q *Queue) Tasks(class string) []Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(q.tasks), func(t Task) bool {
		return class != "" && t.Envelope.Class != class
	})
}

// Payloads decodes the payloads of a class's tasks, in order of creation.
func Payloads[P any](t testing.TB, q *Queue, class tasks.Class[P]) []P {
	t.Helper()
	var all []P
	for _, task := range q.Tasks(class.Spec().Name) {
		var p P
		if err := json.Unmarshal(task.Envelope.Payload, &p); err != nil {
			t.Fatalf("payload of a task of class %s: %v", class.Spec().Name, err)
		}
		all = append(all, p)
	}
	return all
}
