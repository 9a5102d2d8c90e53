package service

import (
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

const (
	maxTasksPage = 1000

	// maxPageBytes keeps a page below the 4 MB that gRPC clients take by default.
	maxPageBytes = 3 << 20
)

// A View says how much of a task is asked for; its numbers are those of every
// version.
type View int32

// Views that aren't full are basic: without what can be large.
const (
	Unspecified View = iota
	Basic
	Full
)

func (v View) check() error {
	if v < Unspecified || v > Full {
		return Invalid("View %d is not one of the API's.", int32(v))
	}
	return nil
}

// CreateTask adds a task. t is nil when the request has none, and belongs to the
// service from then on.
func (s *Service) CreateTask(parent string, t *Task, view View) (*Task, error) {
	if !validQueue(parent) {
		return nil, errQueueName()
	}
	n, err := s.newTask(parent, t, view)
	if err != nil {
		return nil, err
	}
	if err := s.checkKind(parent, t); err != nil {
		return nil, err
	}
	created, err := s.engine.CreateTask(parent, n)
	if err != nil {
		return nil, toStatus(err, verbCreateTask)
	}
	return t.render(created, view), nil
}

// newTask checks a task under a valid parent, and makes it the engine's.
func (s *Service) newTask(parent string, t *Task, view View) (engine.NewTask, error) {
	var n engine.NewTask
	if t == nil {
		return n, Invalid("Task is required.")
	}
	if t.GetName() != "" {
		queue, id, err := parseTask(t.GetName())
		if err != nil {
			return n, err
		}
		if queue != parent {
			return n, Invalid(textOtherQueue, parent, queue)
		}
		n.ID = id
	}
	if err := t.normalize(parent, s.now()); err != nil {
		return n, err
	}
	if err := view.check(); err != nil {
		return n, err
	}
	spec, err := t.spec(parent)
	if err != nil {
		return n, err
	}
	n.Spec, n.Retry = spec, taskRetry(t.GetRetryConfig())
	if at := t.GetScheduleTime(); at != nil {
		n.Due = engine.Micros(at.AsTime().UnixMicro())
	}
	if t.Pull != nil {
		n.Tag = t.Pull.Tag
	}
	return n, nil
}

// checkKind refuses a task that isn't of its queue's type. A queue that is
// missing is left to the engine.
func (s *Service) checkKind(queue string, t *Task) error {
	if d, err := s.engine.GetQueue(queue); err == nil {
		switch {
		case d.Settings.Pull && t.Pull == nil:
			return Invalid("The tasks of a pull queue must have a pull_message.")
		case !d.Settings.Pull && t.Pull != nil:
			return Invalid("A task with a pull_message can be created in a pull queue only.")
		}
	}
	return nil
}

// GetTask returns a task.
func (s *Service) GetTask(name string, view View) (*Task, error) {
	return s.oneTask(name, view, verbGetTask, s.engine.GetTask)
}

// RunTask returns a task once its request to the target is under way.
func (s *Service) RunTask(name string, view View) (*Task, error) {
	return s.oneTask(name, view, verbOther, s.engine.RunTask)
}

func (s *Service) oneTask(name string, view View, v verb, f func(queue, id string) (engine.Task, error)) (*Task, error) {
	queue, id, err := parseTask(name)
	if err != nil {
		return nil, err
	}
	if err := view.check(); err != nil {
		return nil, err
	}
	t, err := f(queue, id)
	if err != nil {
		return nil, toStatus(err, v)
	}
	return loadTask(t, view)
}

// ListTasks returns tasks in the order of their ids. A page of full tasks may
// hold fewer than asked, so that it fits into a message.
func (s *Service) ListTasks(parent string, view View, p Page) (tasks []*Task, token string, err error) {
	if !validQueue(parent) {
		return nil, "", errQueueName()
	}
	if err := view.check(); err != nil {
		return nil, "", err
	}
	limit, err := p.size(maxTasksPage)
	if err != nil {
		return nil, "", err
	}
	pages := s.list("tasks of", parent)
	after, err := pages.open(p.Token)
	if err != nil {
		return nil, "", err
	}
	found, more, err := s.engine.ListTasks(parent, after, limit)
	if err != nil {
		return nil, "", toStatus(err, verbOther)
	}
	size := 0
	for i, d := range found {
		t, err := loadTask(d, view)
		if err != nil {
			return nil, "", err
		}
		if size += t.size(); size > maxPageBytes && i > 0 {
			found, more = found[:i], true
			break
		}
		tasks = append(tasks, t)
	}
	if more {
		token = pages.token(found[len(found)-1].ID)
	}
	return tasks, token, nil
}

// size is about that of the task in a list.
func (t *Task) size() int {
	size := proto.Size(t.Task) + 8
	if t.Pull != nil {
		size += len(t.Pull.Payload) + len(t.Pull.Tag) + 8
	}
	return size
}

// DeleteTask removes a task.
func (s *Service) DeleteTask(name string) error {
	queue, id, err := parseTask(name)
	if err != nil {
		return err
	}
	return toStatus(s.engine.DeleteTask(queue, id), verbOther)
}

// loadTask is a task as the engine has it.
func loadTask(d engine.Task, view View) (*Task, error) {
	t := &Task{Task: new(cloudtaskspb.Task)}
	if err := proto.Unmarshal(d.Spec, t.Task); err != nil {
		return nil, err
	}
	if m := t.ProtoReflect(); len(m.GetUnknown()) > 0 {
		if p, ok := payload(m.GetUnknown()); ok {
			t.Pull = &Message{Payload: p, Tag: d.Tag}
		}
		m.SetUnknown(nil)
	}
	return t.render(d, view), nil
}

// render completes t, which has what the spec has, by what the engine knows,
// and reduces it to the view.
func (t *Task) render(d engine.Task, view View) *Task {
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
	if t.View = cloudtaskspb.Task_FULL; view == Full {
		return t
	}
	t.View = cloudtaskspb.Task_BASIC
	if r := t.GetHttpRequest(); r != nil {
		r.Body = nil
	}
	if r := t.GetAppEngineHttpRequest(); r != nil {
		r.Body = nil
	}
	if t.Pull != nil {
		t.Pull = &Message{Tag: t.Pull.Tag}
	}
	return t
}
