package service

import (
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
