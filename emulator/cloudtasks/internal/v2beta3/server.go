package v2beta3

import (
	"context"

	v2 "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// Server implements google.cloud.tasks.v2beta3.
type Server struct {
	cloudtaskspb.UnimplementedCloudTasksServer
	Service *service.Service
}

func answerQueue(q *service.Queue, err error) (*cloudtaskspb.Queue, error) {
	if err != nil {
		return nil, err
	}
	return queue(q), nil
}

// ListQueues implements google.cloud.tasks.v2beta3.
func (s *Server) ListQueues(_ context.Context, r *cloudtaskspb.ListQueuesRequest) (*cloudtaskspb.ListQueuesResponse, error) {
	stats, err := service.CheckRead(r.GetReadMask(), (*cloudtaskspb.Queue)(nil), "stats")
	if err != nil {
		return nil, err
	}
	queues, token, err := service.ListQueues(s.Service, r.GetParent(), r.GetFilter(), service.Page{Size: r.GetPageSize(), Token: r.GetPageToken()}, stats, queue)
	if err != nil {
		return nil, err
	}
	for i, q := range queues {
		queues[i] = service.Select(q, r.GetReadMask(), "stats")
	}
	return &cloudtaskspb.ListQueuesResponse{Queues: queues, NextPageToken: token}, nil
}

// GetQueue implements google.cloud.tasks.v2beta3.
func (s *Server) GetQueue(_ context.Context, r *cloudtaskspb.GetQueueRequest) (*cloudtaskspb.Queue, error) {
	stats, err := service.CheckRead(r.GetReadMask(), (*cloudtaskspb.Queue)(nil), "stats")
	if err != nil {
		return nil, err
	}
	q, err := answerQueue(s.Service.GetQueue(r.GetName(), stats))
	if err != nil {
		return nil, err
	}
	return service.Select(q, r.GetReadMask(), "stats"), nil
}

// CreateQueue implements google.cloud.tasks.v2beta3.
func (s *Server) CreateQueue(_ context.Context, r *cloudtaskspb.CreateQueueRequest) (*cloudtaskspb.Queue, error) {
	var q *service.Queue
	if r.GetQueue() != nil {
		q = new(service.Queue)
		if err := describe(q, r.GetQueue()); err != nil {
			return nil, err
		}
	}
	return answerQueue(s.Service.CreateQueue(r.GetParent(), q))
}

// UpdateQueue implements google.cloud.tasks.v2beta3.
func (s *Server) UpdateQueue(_ context.Context, r *cloudtaskspb.UpdateQueueRequest) (*cloudtaskspb.Queue, error) {
	if r.GetQueue() == nil {
		return nil, service.Invalid("Queue is required.")
	}
	update, err := service.NewUpdate(r.GetQueue(), r.GetUpdateMask(), "app_engine_http_queue", "http_target", "rate_limits", "retry_config",
		"stackdriver_logging_config", "task_ttl", "tombstone_ttl", "type")
	if err != nil {
		return nil, err
	}
	return answerQueue(s.Service.UpdateQueue(r.GetQueue().GetName(), update, func(q *service.Queue) error {
		m := queue(q)
		update.Apply(m)
		return describe(q, m)
	}))
}

// DeleteQueue implements google.cloud.tasks.v2beta3.
func (s *Server) DeleteQueue(_ context.Context, r *cloudtaskspb.DeleteQueueRequest) (*emptypb.Empty, error) {
	return new(emptypb.Empty), s.Service.DeleteQueue(r.GetName())
}

// PurgeQueue implements google.cloud.tasks.v2beta3.
func (s *Server) PurgeQueue(_ context.Context, r *cloudtaskspb.PurgeQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.PurgeQueue(r.GetName()))
}

// PauseQueue implements google.cloud.tasks.v2beta3.
func (s *Server) PauseQueue(_ context.Context, r *cloudtaskspb.PauseQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.PauseQueue(r.GetName()))
}

// ResumeQueue implements google.cloud.tasks.v2beta3.
func (s *Server) ResumeQueue(_ context.Context, r *cloudtaskspb.ResumeQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.ResumeQueue(r.GetName()))
}

// GetIamPolicy implements google.cloud.tasks.v2beta3.
func (s *Server) GetIamPolicy(_ context.Context, r *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	return s.Service.GetIamPolicy(r)
}

// SetIamPolicy implements google.cloud.tasks.v2beta3.
func (s *Server) SetIamPolicy(_ context.Context, r *iampb.SetIamPolicyRequest) (*iampb.Policy, error) {
	return s.Service.SetIamPolicy(r)
}

// TestIamPermissions implements google.cloud.tasks.v2beta3.
func (s *Server) TestIamPermissions(_ context.Context, r *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	return s.Service.TestIamPermissions(r)
}

func answerTask(t *service.Task, err error) (*cloudtaskspb.Task, error) {
	if err != nil {
		return nil, err
	}
	return task(t), nil
}

// ListTasks implements google.cloud.tasks.v2beta3.
func (s *Server) ListTasks(_ context.Context, r *cloudtaskspb.ListTasksRequest) (*cloudtaskspb.ListTasksResponse, error) {
	found, token, err := s.Service.ListTasks(r.GetParent(), service.View(r.GetResponseView()), service.Page{Size: r.GetPageSize(), Token: r.GetPageToken()})
	if err != nil {
		return nil, err
	}
	return &cloudtaskspb.ListTasksResponse{Tasks: tasks(found), NextPageToken: token}, nil
}

// GetTask implements google.cloud.tasks.v2beta3.
func (s *Server) GetTask(_ context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.GetTask(r.GetName(), service.View(r.GetResponseView())))
}

// CreateTask implements google.cloud.tasks.v2beta3.
func (s *Server) CreateTask(_ context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.CreateTask(r.GetParent(), newTask(r.GetTask()), service.View(r.GetResponseView())))
}

// BatchCreateTasks implements google.cloud.tasks.v2beta3.
func (s *Server) BatchCreateTasks(_ context.Context, r *cloudtaskspb.BatchCreateTasksRequest) (*longrunningpb.Operation, error) {
	creations := make([]service.Creation, len(r.GetRequests()))
	for i, one := range r.GetRequests() {
		creations[i] = service.Creation{Parent: one.GetParent(), Task: newTask(one.GetTask()), View: service.View(one.GetResponseView())}
	}
	return s.Service.BatchCreateTasks(service.Batch{Version: "v2beta3", Parent: r.GetParent(), RequestID: r.GetRequestId()}, creations,
		func(from *v2.BatchCreateTasksMetadata, created []*service.Task) (metadata, response proto.Message) {
			m := new(cloudtaskspb.BatchCreateTasksMetadata)
			service.Copy(m, from)
			return m, &cloudtaskspb.BatchCreateTasksResponse{Tasks: tasks(created)}
		})
}

// DeleteTask implements google.cloud.tasks.v2beta3.
func (s *Server) DeleteTask(_ context.Context, r *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	return new(emptypb.Empty), s.Service.DeleteTask(r.GetName())
}

// BatchDeleteTasks implements google.cloud.tasks.v2beta3.
func (s *Server) BatchDeleteTasks(_ context.Context, r *cloudtaskspb.BatchDeleteTasksRequest) (*longrunningpb.Operation, error) {
	return s.Service.BatchDeleteTasks(service.Batch{Version: "v2beta3", Parent: r.GetParent(), RequestID: r.GetRequestId()}, r.GetNames(),
		func(from *v2.BatchDeleteTasksMetadata) proto.Message {
			m := new(cloudtaskspb.BatchDeleteTasksMetadata)
			service.Copy(m, from)
			return m
		})
}

// RunTask implements google.cloud.tasks.v2beta3.
func (s *Server) RunTask(_ context.Context, r *cloudtaskspb.RunTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.RunTask(r.GetName(), service.View(r.GetResponseView())))
}

func answerConfig(from *v2.CmekConfig, err error) (*cloudtaskspb.CmekConfig, error) {
	if err != nil {
		return nil, err
	}
	c := new(cloudtaskspb.CmekConfig)
	service.Copy(c, from)
	return c, nil
}

// GetCmekConfig implements google.cloud.tasks.v2beta3.
func (s *Server) GetCmekConfig(_ context.Context, r *cloudtaskspb.GetCmekConfigRequest) (*cloudtaskspb.CmekConfig, error) {
	return answerConfig(s.Service.GetCmekConfig(r.GetName()))
}

// UpdateCmekConfig implements google.cloud.tasks.v2beta3.
func (s *Server) UpdateCmekConfig(_ context.Context, r *cloudtaskspb.UpdateCmekConfigRequest) (*cloudtaskspb.CmekConfig, error) {
	c := r.GetCmekConfig()
	if c == nil {
		c = new(cloudtaskspb.CmekConfig)
	}
	update, err := service.NewUpdate(c, r.GetUpdateMask(), "kms_key")
	if err != nil {
		return nil, err
	}
	return answerConfig(s.Service.UpdateCmekConfig(c.GetName(), update))
}

// BufferTask adds a task for the HTTP target of its queue, and returns an answer
// of the form {"task": …}: the generated code has no such message but a request.
func (s *Server) BufferTask(queue, id, contentType string, body []byte) (proto.Message, error) {
	t, err := s.Service.BufferTask(queue, id, contentType, body)
	if err != nil {
		return nil, err
	}
	return &cloudtaskspb.CreateTaskRequest{Task: task(t)}, nil
}
