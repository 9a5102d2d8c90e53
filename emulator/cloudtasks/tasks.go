package cloudtasks

import (
	"context"
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

const maxTasksPage = 1000

// CreateTask implements google.cloud.tasks.v2.
func (s *service) CreateTask(_ context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	if !validQueue(r.GetParent()) {
		return nil, errQueueName()
	}
	return s.createTask(r)
}

// createTask creates a task under a valid parent.
func (s *service) createTask(r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	t := r.GetTask()
	if t == nil {
		return nil, invalid("Task is required.")
	}
	id := ""
	if t.GetName() != "" {
		var queue string
		var err error
		if queue, id, err = parseTask(t.GetName()); err != nil {
			return nil, err
		}
		if queue != r.GetParent() {
			return nil, invalid("The queue name from request ('%s') must be the same as the queue name in the named task ('%s').", r.GetParent(), queue)
		}
	}
	if err := normalize(r.GetParent(), t); err != nil {
		return nil, err
	}
	if err := checkView(r.GetResponseView()); err != nil {
		return nil, err
	}
	spec, err := taskSpec(r.GetParent(), t)
	if err != nil {
		return nil, err
	}
	var due engine.Micros
	if at := t.GetScheduleTime(); at != nil {
		due = engine.Micros(at.AsTime().UnixMicro())
	}
	created, err := s.engine.CreateTask(r.GetParent(), engine.NewTask{
		ID: id, Due: due, Retry: taskRetry(t.GetRetryConfig()), Spec: spec,
	})
	if err != nil {
		return nil, toStatus(err, verbCreateTask)
	}
	return render(t, created, r.GetResponseView()), nil
}

// GetTask implements google.cloud.tasks.v2.
func (s *service) GetTask(_ context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	queue, id, err := parseTask(r.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkView(r.GetResponseView()); err != nil {
		return nil, err
	}
	t, err := s.engine.GetTask(queue, id)
	if err != nil {
		return nil, toStatus(err, verbGetTask)
	}
	return taskMessage(t, r.GetResponseView())
}

// ListTasks implements google.cloud.tasks.v2, in the order of the ids. A page of
// full tasks may hold fewer than asked, so that it fits into a message.
func (s *service) ListTasks(_ context.Context, r *cloudtaskspb.ListTasksRequest) (*cloudtaskspb.ListTasksResponse, error) {
	if !validQueue(r.GetParent()) {
		return nil, errQueueName()
	}
	if err := checkView(r.GetResponseView()); err != nil {
		return nil, err
	}
	limit, err := pageSize(r.GetPageSize(), maxTasksPage)
	if err != nil {
		return nil, err
	}
	list := "tasks of " + r.GetParent()
	after, err := openToken(r.GetPageToken(), list)
	if err != nil {
		return nil, err
	}
	tasks, more, err := s.engine.ListTasks(r.GetParent(), after, limit)
	if err != nil {
		return nil, toStatus(err, verbOther)
	}
	page, size := new(cloudtaskspb.ListTasksResponse), 0
	for i, t := range tasks {
		m, err := taskMessage(t, r.GetResponseView())
		if err != nil {
			return nil, err
		}
		if size += proto.Size(m) + 8; size > maxPageBytes && i > 0 {
			tasks, more = tasks[:i], true
			break
		}
		page.Tasks = append(page.Tasks, m)
	}
	if more {
		page.NextPageToken = newToken(list, tasks[len(tasks)-1].ID)
	}
	return page, nil
}

// maxPageBytes keeps a page below the 4 MB that gRPC clients take by default.
const maxPageBytes = 3 << 20

// DeleteTask implements google.cloud.tasks.v2.
func (s *service) DeleteTask(_ context.Context, r *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	queue, id, err := parseTask(r.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.engine.DeleteTask(queue, id); err != nil {
		return nil, toStatus(err, verbOther)
	}
	return new(emptypb.Empty), nil
}

// RunTask implements google.cloud.tasks.v2. It returns once the request to the
// target is under way.
func (s *service) RunTask(_ context.Context, r *cloudtaskspb.RunTaskRequest) (*cloudtaskspb.Task, error) {
	queue, id, err := parseTask(r.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkView(r.GetResponseView()); err != nil {
		return nil, err
	}
	t, err := s.engine.RunTask(queue, id)
	if err != nil {
		return nil, toStatus(err, verbOther)
	}
	return taskMessage(t, r.GetResponseView())
}

func checkView(v cloudtaskspb.Task_View) error {
	if _, known := cloudtaskspb.Task_View_name[int32(v)]; !known {
		return invalid("View %d is not one of the API's.", int32(v))
	}
	return nil
}

// taskMessage is a task as clients see it.
func taskMessage(d engine.Task, view cloudtaskspb.Task_View) (*cloudtaskspb.Task, error) {
	t := new(cloudtaskspb.Task)
	if err := proto.Unmarshal(d.Spec, t); err != nil {
		return nil, err
	}
	return render(t, d, view), nil
}

// render completes t, which has what the spec has, by what the engine knows,
// and reduces it to the view.
func render(t *cloudtaskspb.Task, d engine.Task, view cloudtaskspb.Task_View) *cloudtaskspb.Task {
	t.Name = strings.Join([]string{d.Queue, "/tasks/", d.ID}, "")
	t.CreateTime, t.ScheduleTime = timestamp(d.Created), timestamp(d.Due)
	t.DispatchCount, t.ResponseCount = int32(d.Dispatches), int32(d.Responses)
	if d.First != 0 {
		t.FirstAttempt = &cloudtaskspb.Attempt{DispatchTime: timestamp(d.First)}
		t.LastAttempt = &cloudtaskspb.Attempt{
			ScheduleTime: timestamp(d.LastDue), DispatchTime: timestamp(d.LastDispatch),
		}
		if d.LastResponse != 0 {
			t.LastAttempt.ResponseTime = timestamp(d.LastResponse)
			t.LastAttempt.ResponseStatus = &spb.Status{Code: d.Last.Code, Message: d.Last.Message}
		}
	}
	t.View = cloudtaskspb.Task_FULL
	if view != cloudtaskspb.Task_FULL {
		t.View = cloudtaskspb.Task_BASIC
		if r := t.GetHttpRequest(); r != nil {
			r.Body = nil
		}
		if r := t.GetAppEngineHttpRequest(); r != nil {
			r.Body = nil
		}
	}
	return t
}
