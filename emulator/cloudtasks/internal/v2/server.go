package v2

import (
	"context"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// Server implements google.cloud.tasks.v2.
type Server struct {
	cloudtaskspb.UnimplementedCloudTasksServer
	Service *service.Service
}

// queue is what clients see: v2 knows no other fields.
func queue(q *service.Queue) *cloudtaskspb.Queue { return q.Queue }

func answerQueue(q *service.Queue, err error) (*cloudtaskspb.Queue, error) {
	if err != nil {
		return nil, err
	}
	return q.Queue, nil
}

// wanted is a queue of a request. max_burst_size is output only in this version.
func wanted(q *cloudtaskspb.Queue) *service.Queue {
	if q == nil {
		return nil
	}
	if q.GetRateLimits() != nil {
		q.RateLimits.MaxBurstSize = 0
	}
	return &service.Queue{Queue: q}
}

// ListQueues implements google.cloud.tasks.v2.
func (s *Server) ListQueues(_ context.Context, r *cloudtaskspb.ListQueuesRequest) (*cloudtaskspb.ListQueuesResponse, error) {
	queues, token, err := service.ListQueues(s.Service, r.GetParent(), r.GetFilter(), service.Page{Size: r.GetPageSize(), Token: r.GetPageToken()}, false, queue)
	if err != nil {
		return nil, err
	}
	return &cloudtaskspb.ListQueuesResponse{Queues: queues, NextPageToken: token}, nil
}

// GetQueue implements google.cloud.tasks.v2.
func (s *Server) GetQueue(_ context.Context, r *cloudtaskspb.GetQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.GetQueue(r.GetName(), false))
}

// CreateQueue implements google.cloud.tasks.v2.
func (s *Server) CreateQueue(_ context.Context, r *cloudtaskspb.CreateQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.CreateQueue(r.GetParent(), wanted(r.GetQueue())))
}

// UpdateQueue implements google.cloud.tasks.v2.
func (s *Server) UpdateQueue(_ context.Context, r *cloudtaskspb.UpdateQueueRequest) (*cloudtaskspb.Queue, error) {
	q := wanted(r.GetQueue())
	if q == nil {
		return nil, service.Invalid("Queue is required.")
	}
	update, err := service.NewUpdate(q.Queue, r.GetUpdateMask(),
		"app_engine_routing_override", "http_target", "rate_limits", "retry_config", "stackdriver_logging_config")
	if err != nil {
		return nil, err
	}
	return answerQueue(s.Service.UpdateQueue(q.GetName(), update, func(q *service.Queue) error {
		burst := q.GetRateLimits().GetMaxBurstSize()
		update.Apply(q.Queue)
		if q.GetRateLimits() != nil {
			q.RateLimits.MaxBurstSize = burst
		}
		return nil
	}))
}

// DeleteQueue implements google.cloud.tasks.v2.
func (s *Server) DeleteQueue(_ context.Context, r *cloudtaskspb.DeleteQueueRequest) (*emptypb.Empty, error) {
	return new(emptypb.Empty), s.Service.DeleteQueue(r.GetName())
}

// PurgeQueue implements google.cloud.tasks.v2.
func (s *Server) PurgeQueue(_ context.Context, r *cloudtaskspb.PurgeQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.PurgeQueue(r.GetName()))
}

// PauseQueue implements google.cloud.tasks.v2.
func (s *Server) PauseQueue(_ context.Context, r *cloudtaskspb.PauseQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.PauseQueue(r.GetName()))
}

// ResumeQueue implements google.cloud.tasks.v2.
func (s *Server) ResumeQueue(_ context.Context, r *cloudtaskspb.ResumeQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.ResumeQueue(r.GetName()))
}

// GetIamPolicy implements google.cloud.tasks.v2.
func (s *Server) GetIamPolicy(_ context.Context, r *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	return s.Service.GetIamPolicy(r)
}

// SetIamPolicy implements google.cloud.tasks.v2.
func (s *Server) SetIamPolicy(_ context.Context, r *iampb.SetIamPolicyRequest) (*iampb.Policy, error) {
	return s.Service.SetIamPolicy(r)
}

// TestIamPermissions implements google.cloud.tasks.v2.
func (s *Server) TestIamPermissions(_ context.Context, r *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	return s.Service.TestIamPermissions(r)
}

func answerTask(t *service.Task, err error) (*cloudtaskspb.Task, error) {
	if err != nil {
		return nil, err
	}
	return t.Task, nil
}

func newTask(t *cloudtaskspb.Task) *service.Task {
	if t == nil {
		return nil
	}
	return &service.Task{Task: t}
}

func messages(tasks []*service.Task) []*cloudtaskspb.Task {
	all := make([]*cloudtaskspb.Task, len(tasks))
	for i, t := range tasks {
		all[i] = t.Task
	}
	return all
}

// ListTasks implements google.cloud.tasks.v2.
func (s *Server) ListTasks(_ context.Context, r *cloudtaskspb.ListTasksRequest) (*cloudtaskspb.ListTasksResponse, error) {
	tasks, token, err := s.Service.ListTasks(r.GetParent(), service.View(r.GetResponseView()), service.Page{Size: r.GetPageSize(), Token: r.GetPageToken()})
	if err != nil {
		return nil, err
	}
	return &cloudtaskspb.ListTasksResponse{Tasks: messages(tasks), NextPageToken: token}, nil
}

// GetTask implements google.cloud.tasks.v2.
func (s *Server) GetTask(_ context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.GetTask(r.GetName(), service.View(r.GetResponseView())))
}

// CreateTask implements google.cloud.tasks.v2.
func (s *Server) CreateTask(ctx context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	if service.Unaddressed(ctx) {
		if err := s.Service.Address(r.GetParent(), r.GetTask()); err != nil {
			return nil, err
		}
	}
	return answerTask(s.Service.CreateTask(r.GetParent(), newTask(r.GetTask()), service.View(r.GetResponseView())))
}

// BatchCreateTasks implements google.cloud.tasks.v2.
func (s *Server) BatchCreateTasks(_ context.Context, r *cloudtaskspb.BatchCreateTasksRequest) (*longrunningpb.Operation, error) {
	creations := make([]service.Creation, len(r.GetRequests()))
	for i, one := range r.GetRequests() {
		creations[i] = service.Creation{Parent: one.GetParent(), Task: newTask(one.GetTask()), View: service.View(one.GetResponseView())}
	}
	return s.Service.BatchCreateTasks(service.Batch{Version: "v2", Parent: r.GetParent(), RequestID: r.GetRequestId()}, creations,
		func(m *cloudtaskspb.BatchCreateTasksMetadata, created []*service.Task) (metadata, response proto.Message) {
			return m, &cloudtaskspb.BatchCreateTasksResponse{Tasks: messages(created)}
		})
}

// DeleteTask implements google.cloud.tasks.v2.
func (s *Server) DeleteTask(_ context.Context, r *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	return new(emptypb.Empty), s.Service.DeleteTask(r.GetName())
}

// BatchDeleteTasks implements google.cloud.tasks.v2.
func (s *Server) BatchDeleteTasks(_ context.Context, r *cloudtaskspb.BatchDeleteTasksRequest) (*longrunningpb.Operation, error) {
	return s.Service.BatchDeleteTasks(service.Batch{Version: "v2", Parent: r.GetParent(), RequestID: r.GetRequestId()}, r.GetNames(),
		func(m *cloudtaskspb.BatchDeleteTasksMetadata) proto.Message { return m })
}

// RunTask implements google.cloud.tasks.v2.
func (s *Server) RunTask(_ context.Context, r *cloudtaskspb.RunTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.RunTask(r.GetName(), service.View(r.GetResponseView())))
}

// GetCmekConfig implements google.cloud.tasks.v2.
func (s *Server) GetCmekConfig(_ context.Context, r *cloudtaskspb.GetCmekConfigRequest) (*cloudtaskspb.CmekConfig, error) {
	return s.Service.GetCmekConfig(r.GetName())
}

// UpdateCmekConfig implements google.cloud.tasks.v2.
func (s *Server) UpdateCmekConfig(_ context.Context, r *cloudtaskspb.UpdateCmekConfigRequest) (*cloudtaskspb.CmekConfig, error) {
	c := r.GetCmekConfig()
	if c == nil {
		c = new(cloudtaskspb.CmekConfig)
	}
	update, err := service.NewUpdate(c, r.GetUpdateMask(), "kms_key")
	if err != nil {
		return nil, err
	}
	return s.Service.UpdateCmekConfig(c.GetName(), update)
}

// BufferTask adds a task for the HTTP target of its queue, and returns an answer
// of the form {"task": …}: the generated code has no such message but a request.
func (s *Server) BufferTask(queue, id, contentType string, body []byte) (proto.Message, error) {
	t, err := s.Service.BufferTask(queue, id, contentType, body)
	if err != nil {
		return nil, err
	}
	return &cloudtaskspb.CreateTaskRequest{Task: t.Task}, nil
}
