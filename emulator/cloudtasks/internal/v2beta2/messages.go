package v2beta2

import (
	v2 "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// unlimited is how v2 says unlimited_attempts, and this version the concurrency
// of a pull queue.
const unlimited = -1

// queue is what clients see. Of a queue with both targets they see the HTTP one.
func queue(q *service.Queue) *cloudtaskspb.Queue {
	m := new(cloudtaskspb.Queue)
	service.Copy(m, q.Queue)
	limits := q.GetRateLimits()
	m.RateLimits = &cloudtaskspb.RateLimits{
		MaxTasksDispatchedPerSecond: limits.GetMaxDispatchesPerSecond(),
		MaxBurstSize:                limits.GetMaxBurstSize(),
		MaxConcurrentTasks:          limits.GetMaxConcurrentDispatches(),
	}
	if q.GetRetryConfig().GetMaxAttempts() == unlimited {
		m.RetryConfig.NumAttempts = &cloudtaskspb.RetryConfig_UnlimitedAttempts{UnlimitedAttempts: true}
	}
	m.TaskTtl, m.TombstoneTtl = q.TaskTTL, q.TombstoneTTL
	switch {
	case q.Pull:
		m.TargetType = &cloudtaskspb.Queue_PullTarget{PullTarget: new(cloudtaskspb.PullTarget)}
		m.RateLimits.MaxConcurrentTasks = unlimited
	case q.GetHttpTarget() == nil:
		target := new(cloudtaskspb.AppEngineHttpTarget)
		if q.GetAppEngineRoutingOverride() != nil {
			target.AppEngineRoutingOverride = new(cloudtaskspb.AppEngineRouting)
			service.Copy(target.AppEngineRoutingOverride, q.GetAppEngineRoutingOverride())
		}
		m.TargetType = &cloudtaskspb.Queue_AppEngineHttpTarget{AppEngineHttpTarget: target}
	}
	if q.Stats != nil {
		m.Stats = new(cloudtaskspb.QueueStats)
		service.Copy(m.Stats, q.Stats)
	}
	return m
}

// describe makes q what a message says; what this version doesn't know stays.
func describe(q *service.Queue, m *cloudtaskspb.Queue) {
	old := q.Queue
	q.Queue = new(v2.Queue)
	service.Copy(q.Queue, m)
	q.AppEngineRoutingOverride, q.StackdriverLoggingConfig = old.GetAppEngineRoutingOverride(), old.GetStackdriverLoggingConfig()
	switch target := m.GetTargetType().(type) {
	case *cloudtaskspb.Queue_PullTarget:
		q.Pull = true
	case *cloudtaskspb.Queue_AppEngineHttpTarget:
		q.Pull, q.AppEngineRoutingOverride = false, nil
		if o := target.AppEngineHttpTarget.GetAppEngineRoutingOverride(); o != nil {
			q.AppEngineRoutingOverride = new(v2.AppEngineRouting)
			service.Copy(q.AppEngineRoutingOverride, o)
		}
	case *cloudtaskspb.Queue_HttpTarget:
		q.Pull = false
	default:
		q.AppEngineRoutingOverride = nil
	}
	if q.RateLimits = nil; m.GetRateLimits() != nil {
		q.RateLimits = &v2.RateLimits{
			MaxDispatchesPerSecond:  m.GetRateLimits().GetMaxTasksDispatchedPerSecond(),
			MaxBurstSize:            m.GetRateLimits().GetMaxBurstSize(),
			MaxConcurrentDispatches: m.GetRateLimits().GetMaxConcurrentTasks(),
		}
	}
	if q.Pull { // they are output only
		q.RateLimits = old.GetRateLimits()
	}
	if m.GetRetryConfig().GetUnlimitedAttempts() {
		q.RetryConfig.MaxAttempts = unlimited
	}
	q.TaskTTL, q.TombstoneTTL = m.GetTaskTtl(), m.GetTombstoneTtl()
}

// task is what clients see.
func task(t *service.Task) *cloudtaskspb.Task {
	m := new(cloudtaskspb.Task)
	service.Copy(m, t.Task)
	if r := t.GetAppEngineHttpRequest(); r != nil {
		m.GetAppEngineHttpRequest().RelativeUrl = r.GetRelativeUri()
		m.GetAppEngineHttpRequest().Payload = r.GetBody()
	}
	if t.Pull != nil {
		m.PayloadType = &cloudtaskspb.Task_PullMessage{
			PullMessage: &cloudtaskspb.PullMessage{Payload: t.Pull.Payload, Tag: t.Pull.Tag},
		}
	}
	m.Status = &cloudtaskspb.TaskStatus{AttemptDispatchCount: t.GetDispatchCount(), AttemptResponseCount: t.GetResponseCount()}
	if t.GetFirstAttempt() != nil {
		m.Status.FirstAttemptStatus = new(cloudtaskspb.AttemptStatus)
		service.Copy(m.Status.FirstAttemptStatus, t.GetFirstAttempt())
	}
	if t.GetLastAttempt() != nil {
		m.Status.LastAttemptStatus = new(cloudtaskspb.AttemptStatus)
		service.Copy(m.Status.LastAttemptStatus, t.GetLastAttempt())
	}
	return m
}

func newTask(m *cloudtaskspb.Task) *service.Task {
	if m == nil {
		return nil
	}
	t := &service.Task{Task: new(v2.Task)}
	service.Copy(t.Task, m)
	if r := m.GetAppEngineHttpRequest(); r != nil {
		t.GetAppEngineHttpRequest().RelativeUri = r.GetRelativeUrl()
		t.GetAppEngineHttpRequest().Body = r.GetPayload()
	}
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
