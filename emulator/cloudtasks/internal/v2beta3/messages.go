package v2beta3

import (
	v2 "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// queue is what clients see.
func queue(q *service.Queue) *cloudtaskspb.Queue {
	m := new(cloudtaskspb.Queue)
	service.Copy(m, q.Queue)
	if q.GetAppEngineRoutingOverride() != nil {
		o := new(cloudtaskspb.AppEngineRouting)
		service.Copy(o, q.GetAppEngineRoutingOverride())
		m.QueueType = &cloudtaskspb.Queue_AppEngineHttpQueue{
			AppEngineHttpQueue: &cloudtaskspb.AppEngineHttpQueue{AppEngineRoutingOverride: o},
		}
	}
	m.TaskTtl, m.TombstoneTtl = q.TaskTTL, q.TombstoneTTL
	if m.Type = cloudtaskspb.Queue_PUSH; q.Pull {
		m.Type = cloudtaskspb.Queue_PULL
	}
	m.Stats = q.Stats
	return m
}

// describe makes q what a message says; the rest stays.
func describe(q *service.Queue, m *cloudtaskspb.Queue) error {
	q.Queue = new(v2.Queue)
	service.Copy(q.Queue, m)
	if o := m.GetAppEngineHttpQueue().GetAppEngineRoutingOverride(); o != nil {
		q.AppEngineRoutingOverride = new(v2.AppEngineRouting)
		service.Copy(q.AppEngineRoutingOverride, o)
	}
	q.TaskTTL, q.TombstoneTTL = m.GetTaskTtl(), m.GetTombstoneTtl()
	switch m.GetType() {
	case cloudtaskspb.Queue_TYPE_UNSPECIFIED:
	case cloudtaskspb.Queue_PUSH:
		q.Pull = false
	case cloudtaskspb.Queue_PULL:
		q.Pull = true
	default:
		return service.Invalid("Queue.type %d is not one of the API's.", int32(m.GetType()))
	}
	return nil
}

// task is what clients see.
func task(t *service.Task) *cloudtaskspb.Task {
	m := new(cloudtaskspb.Task)
	service.Copy(m, t.Task)
	if t.Pull != nil {
		m.PayloadType = &cloudtaskspb.Task_PullMessage{
			PullMessage: &cloudtaskspb.PullMessage{Payload: t.Pull.Payload, Tag: t.Pull.Tag},
		}
	}
	return m
}

func newTask(m *cloudtaskspb.Task) *service.Task {
	if m == nil {
		return nil
	}
	t := &service.Task{Task: new(v2.Task)}
	service.Copy(t.Task, m)
	if p, ok := m.GetPayloadType().(*cloudtaskspb.Task_PullMessage); ok {
		t.Pull = &service.Message{Payload: p.PullMessage.GetPayload(), Tag: p.PullMessage.GetTag()}
	}
	return t
}

func tasks(all []*service.Task) []*cloudtaskspb.Task {
	messages := make([]*cloudtaskspb.Task, len(all))
	for i, t := range all {
		messages[i] = task(t)
	}
	return messages
}
