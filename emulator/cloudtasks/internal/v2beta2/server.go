package v2beta2

import (
	"context"

	"cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// Server implements google.cloud.tasks.v2beta2.
type Server struct {
	cloudtaskspb.UnimplementedCloudTasksServer
	Service *service.Service

	// Upload makes the queues of an App Engine app what a queue.yaml says.
	Upload func(app string, text []byte) error
}

func answerQueue(q *service.Queue, err error) (*cloudtaskspb.Queue, error) {
	if err != nil {
		return nil, err
	}
	return queue(q), nil
}

// ListQueues implements google.cloud.tasks.v2beta2.
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

// GetQueue implements google.cloud.tasks.v2beta2.
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

// CreateQueue implements google.cloud.tasks.v2beta2.
func (s *Server) CreateQueue(_ context.Context, r *cloudtaskspb.CreateQueueRequest) (*cloudtaskspb.Queue, error) {
	var q *service.Queue
	if r.GetQueue() != nil {
		q = new(service.Queue)
		describe(q, r.GetQueue())
	}
	return answerQueue(s.Service.CreateQueue(r.GetParent(), q))
}

// UpdateQueue implements google.cloud.tasks.v2beta2.
func (s *Server) UpdateQueue(_ context.Context, r *cloudtaskspb.UpdateQueueRequest) (*cloudtaskspb.Queue, error) {
	if r.GetQueue() == nil {
		return nil, service.Invalid("Queue is required.")
	}
	update, err := service.NewUpdate(r.GetQueue(), r.GetUpdateMask(), "app_engine_http_target", "pull_target", "http_target", "rate_limits", "retry_config",
		"task_ttl", "tombstone_ttl")
	if err != nil {
		return nil, err
	}
	if update.Names("retry_config.max_attempts") { // also when they are to be unlimited
		update.Add("retry_config.unlimited_attempts")
	}
	return answerQueue(s.Service.UpdateQueue(r.GetQueue().GetName(), update, func(q *service.Queue) error {
		m := queue(q)
		update.Apply(m)
		describe(q, m)
		return nil
	}))
}

// DeleteQueue implements google.cloud.tasks.v2beta2.
func (s *Server) DeleteQueue(_ context.Context, r *cloudtaskspb.DeleteQueueRequest) (*emptypb.Empty, error) {
	return new(emptypb.Empty), s.Service.DeleteQueue(r.GetName())
}

// PurgeQueue implements google.cloud.tasks.v2beta2.
func (s *Server) PurgeQueue(_ context.Context, r *cloudtaskspb.PurgeQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.PurgeQueue(r.GetName()))
}

// PauseQueue implements google.cloud.tasks.v2beta2.
func (s *Server) PauseQueue(_ context.Context, r *cloudtaskspb.PauseQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.PauseQueue(r.GetName()))
}

// ResumeQueue implements google.cloud.tasks.v2beta2.
func (s *Server) ResumeQueue(_ context.Context, r *cloudtaskspb.ResumeQueueRequest) (*cloudtaskspb.Queue, error) {
	return answerQueue(s.Service.ResumeQueue(r.GetName()))
}

// UploadQueueYaml implements google.cloud.tasks.v2beta2. What can't be done is
// INVALID_ARGUMENT; what was done before stays.
func (s *Server) UploadQueueYaml(_ context.Context, r *cloudtaskspb.UploadQueueYamlRequest) (*emptypb.Empty, error) {
	if r.GetAppId() == "" {
		return nil, service.Invalid("UploadQueueYamlRequest.appId is required.")
	}
	if err := s.Upload(r.GetAppId(), r.GetHttpBody().GetData()); err != nil {
		return nil, service.Invalid("queue.yaml: %v", err)
	}
	return new(emptypb.Empty), nil
}

// GetIamPolicy implements google.cloud.tasks.v2beta2.
func (s *Server) GetIamPolicy(_ context.Context, r *iampb.GetIamPolicyRequest) (*iampb.Policy, error) {
	return s.Service.GetIamPolicy(r)
}

// SetIamPolicy implements google.cloud.tasks.v2beta2.
func (s *Server) SetIamPolicy(_ context.Context, r *iampb.SetIamPolicyRequest) (*iampb.Policy, error) {
	return s.Service.SetIamPolicy(r)
}

// TestIamPermissions implements google.cloud.tasks.v2beta2.
func (s *Server) TestIamPermissions(_ context.Context, r *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	return s.Service.TestIamPermissions(r)
}

func answerTask(t *service.Task, err error) (*cloudtaskspb.Task, error) {
	if err != nil {
		return nil, err
	}
	return task(t), nil
}

// ListTasks implements google.cloud.tasks.v2beta2.
func (s *Server) ListTasks(_ context.Context, r *cloudtaskspb.ListTasksRequest) (*cloudtaskspb.ListTasksResponse, error) {
	found, token, err := s.Service.ListTasks(r.GetParent(), service.View(r.GetResponseView()), service.Page{Size: r.GetPageSize(), Token: r.GetPageToken()})
	if err != nil {
		return nil, err
	}
	return &cloudtaskspb.ListTasksResponse{Tasks: tasks(found), NextPageToken: token}, nil
}

// GetTask implements google.cloud.tasks.v2beta2.
func (s *Server) GetTask(_ context.Context, r *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.GetTask(r.GetName(), service.View(r.GetResponseView())))
}

// CreateTask implements google.cloud.tasks.v2beta2.
func (s *Server) CreateTask(_ context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.CreateTask(r.GetParent(), newTask(r.GetTask()), service.View(r.GetResponseView())))
}

// DeleteTask implements google.cloud.tasks.v2beta2.
func (s *Server) DeleteTask(_ context.Context, r *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	return new(emptypb.Empty), s.Service.DeleteTask(r.GetName())
}

// RunTask implements google.cloud.tasks.v2beta2.
func (s *Server) RunTask(_ context.Context, r *cloudtaskspb.RunTaskRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.RunTask(r.GetName(), service.View(r.GetResponseView())))
}

// LeaseTasks implements google.cloud.tasks.v2beta2.
func (s *Server) LeaseTasks(_ context.Context, r *cloudtaskspb.LeaseTasksRequest) (*cloudtaskspb.LeaseTasksResponse, error) {
	leased, err := s.Service.LeaseTasks(r.GetParent(), r.GetMaxTasks(), r.GetLeaseDuration(), r.GetFilter(), service.View(r.GetResponseView()))
	if err != nil {
		return nil, err
	}
	return &cloudtaskspb.LeaseTasksResponse{Tasks: tasks(leased)}, nil
}

// AcknowledgeTask implements google.cloud.tasks.v2beta2.
func (s *Server) AcknowledgeTask(_ context.Context, r *cloudtaskspb.AcknowledgeTaskRequest) (*emptypb.Empty, error) {
	return new(emptypb.Empty), s.Service.AcknowledgeTask(r.GetName(), r.GetScheduleTime())
}

// RenewLease implements google.cloud.tasks.v2beta2.
func (s *Server) RenewLease(_ context.Context, r *cloudtaskspb.RenewLeaseRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.RenewLease(r.GetName(), r.GetScheduleTime(), r.GetLeaseDuration(), service.View(r.GetResponseView())))
}

// CancelLease implements google.cloud.tasks.v2beta2.
func (s *Server) CancelLease(_ context.Context, r *cloudtaskspb.CancelLeaseRequest) (*cloudtaskspb.Task, error) {
	return answerTask(s.Service.CancelLease(r.GetName(), r.GetScheduleTime(), service.View(r.GetResponseView())))
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
