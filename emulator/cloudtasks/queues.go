package cloudtasks

import (
	"context"
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

const maxQueuesPage = 9800

// service is google.cloud.tasks.v2 on an engine.
type service struct {
	cloudtaskspb.UnimplementedCloudTasksServer
	engine *engine.Engine
	batch  batches
}

// CreateQueue implements google.cloud.tasks.v2.
func (s *service) CreateQueue(_ context.Context, r *cloudtaskspb.CreateQueueRequest) (*cloudtaskspb.Queue, error) {
	if !validLocation(r.GetParent()) {
		return nil, invalid(textLocationName)
	}
	q := r.GetQueue()
	if q == nil {
		return nil, invalid("Queue is required.")
	}
	if !validQueue(q.GetName()) {
		return nil, errQueueName()
	}
	if !strings.HasPrefix(q.GetName(), r.GetParent()+"/") {
		return nil, invalid("%s must begin with %s.", q.GetName(), r.GetParent())
	}
	if err := checkQueue(q); err != nil {
		return nil, err
	}
	withDefaults(q, false)
	return s.createQueue(q)
}

// createQueue adds a queue that is checked and complete.
func (s *service) createQueue(q *cloudtaskspb.Queue) (*cloudtaskspb.Queue, error) {
	spec, err := queueSpec(q)
	if err != nil {
		return nil, invalid("The queue can't be stored: %v", err)
	}
	d, err := s.engine.CreateQueue(q.GetName(), settingsOf(q), spec)
	return answerQueue(d, err)
}

func answerQueue(d engine.Queue, err error) (*cloudtaskspb.Queue, error) {
	if err != nil {
		return nil, toStatus(err, verbOther)
	}
	return queueMessage(d)
}

// GetQueue implements google.cloud.tasks.v2.
func (s *service) GetQueue(_ context.Context, r *cloudtaskspb.GetQueueRequest) (*cloudtaskspb.Queue, error) {
	if !validQueue(r.GetName()) {
		return nil, errQueueName()
	}
	return answerQueue(s.engine.GetQueue(r.GetName()))
}

// ListQueues implements google.cloud.tasks.v2, in lexicographic order. Of the
// filter language it knows conditions on the state.
func (s *service) ListQueues(_ context.Context, r *cloudtaskspb.ListQueuesRequest) (*cloudtaskspb.ListQueuesResponse, error) {
	if !validLocation(r.GetParent()) {
		return nil, invalid(textLocationName)
	}
	limit, err := pageSize(r.GetPageSize(), maxQueuesPage)
	if err != nil {
		return nil, err
	}
	wanted, err := stateFilter(r.GetFilter())
	if err != nil {
		return nil, err
	}
	list := "queues of " + r.GetParent() + " " + r.GetFilter()
	after, err := openToken(r.GetPageToken(), list)
	if err != nil {
		return nil, err
	}
	queues, more, err := s.engine.ListQueues(r.GetParent()+"/queues/", after, limit)
	if err != nil {
		return nil, toStatus(err, verbOther)
	}
	page := new(cloudtaskspb.ListQueuesResponse)
	for _, d := range queues {
		q, err := queueMessage(d)
		if err != nil {
			return nil, err
		}
		if wanted(q.GetState()) {
			page.Queues = append(page.Queues, q)
		}
	}
	if more {
		page.NextPageToken = newToken(list, queues[len(queues)-1].Name)
	}
	return page, nil
}

// stateFilter reads `state: PAUSED` and its likes.
func stateFilter(filter string) (func(cloudtaskspb.Queue_State) bool, error) {
	if strings.TrimSpace(filter) == "" {
		return func(cloudtaskspb.Queue_State) bool { return true }, nil
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(filter), "state")
	rest = strings.TrimSpace(rest)
	for _, operator := range []string{"!=", "=", ":"} {
		if value, found := strings.CutPrefix(rest, operator); ok && found {
			value = strings.Trim(strings.TrimSpace(value), `"`)
			if number, known := cloudtaskspb.Queue_State_value[value]; known {
				return func(s cloudtaskspb.Queue_State) bool { return (int32(s) == number) == (operator != "!=") }, nil
			}
			break
		}
	}
	return nil, invalid("The filter %q is not understood: this emulator knows `state: RUNNING`, `state = PAUSED` and `state != PAUSED`.", filter)
}

// DeleteQueue implements google.cloud.tasks.v2.
func (s *service) DeleteQueue(_ context.Context, r *cloudtaskspb.DeleteQueueRequest) (*emptypb.Empty, error) {
	if !validQueue(r.GetName()) {
		return nil, errQueueName()
	}
	if err := s.engine.DeleteQueue(r.GetName()); err != nil {
		return nil, toStatus(err, verbDeleteQueue)
	}
	return new(emptypb.Empty), nil
}

// PurgeQueue implements google.cloud.tasks.v2. It takes effect at once.
func (s *service) PurgeQueue(_ context.Context, r *cloudtaskspb.PurgeQueueRequest) (*cloudtaskspb.Queue, error) {
	if !validQueue(r.GetName()) {
		return nil, errQueueName()
	}
	return answerQueue(s.engine.PurgeQueue(r.GetName()))
}

// PauseQueue implements google.cloud.tasks.v2.
func (s *service) PauseQueue(_ context.Context, r *cloudtaskspb.PauseQueueRequest) (*cloudtaskspb.Queue, error) {
	if !validQueue(r.GetName()) {
		return nil, errQueueName()
	}
	return answerQueue(s.engine.PauseQueue(r.GetName()))
}

// ResumeQueue implements google.cloud.tasks.v2.
func (s *service) ResumeQueue(_ context.Context, r *cloudtaskspb.ResumeQueueRequest) (*cloudtaskspb.Queue, error) {
	if !validQueue(r.GetName()) {
		return nil, errQueueName()
	}
	return answerQueue(s.engine.ResumeQueue(r.GetName()))
}
