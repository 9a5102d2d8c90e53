package service

import (
	"context"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
)

// BufferTask adds a task for the HTTP target of its queue. The id may be "".
func (s *Service) BufferTask(queue, id, contentType string, body []byte) (*Task, error) {
	q, err := s.GetQueue(queue, false)
	if err != nil {
		return nil, err
	}
	url, err := targetURL(q.GetHttpTarget())
	if err != nil {
		return nil, err
	}
	r := &cloudtaskspb.HttpRequest{Url: url, HttpMethod: q.GetHttpTarget().GetHttpMethod(), Body: body}
	switch r.HttpMethod {
	case cloudtaskspb.HttpMethod_GET, cloudtaskspb.HttpMethod_HEAD, cloudtaskspb.HttpMethod_DELETE, cloudtaskspb.HttpMethod_OPTIONS:
		r.Body = nil // has no place in it
	}
	if contentType != "" && len(r.Body) > 0 {
		r.Headers = map[string]string{"Content-Type": contentType}
	}
	t := &Task{Task: &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: r}}}
	if id != "" {
		if !made(id, maxTaskID, "-_") {
			return nil, errTaskID(dispatch.Excerpt(id))
		}
		t.Name = queue + "/tasks/" + id
	}
	return s.CreateTask(queue, t, Full)
}

type unaddressed struct{}

// WithUnaddressed says of a call that it comes from a client that leaves the URL
// of tasks to the emulator: Firebase's do when they talk to one.
func WithUnaddressed(ctx context.Context) context.Context {
	return context.WithValue(ctx, unaddressed{}, true)
}

// Unaddressed reports whether that was said.
func Unaddressed(ctx context.Context) bool { return ctx.Value(unaddressed{}) != nil }

// Address gives a task without a URL that of its queue's HTTP target, if there
// is one.
func (s *Service) Address(queue string, t *cloudtaskspb.Task) error {
	r := t.GetHttpRequest()
	if r == nil || r.GetUrl() != "" {
		return nil
	}
	q, err := s.GetQueue(queue, false)
	if err != nil {
		return err
	}
	if url, err := targetURL(q.GetHttpTarget()); err == nil {
		r.Url = url
	}
	return nil
}
