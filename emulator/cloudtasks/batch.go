package cloudtasks

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	maxBatchCreate = 100
	maxBatchDelete = 1000
	maxRequestID   = 128
	maxOperations  = 1000 // that are remembered by their request ids

	maxOperationBytes = 64 << 20 // of these together: answers can carry the bodies of their tasks

	textNoneSucceeded = "None of the requests succeeded, refer to %s.failed_requests for individual error details"
)

// batches remembers the operations of recent requests with an id, so that a
// repeated request gets the first answer. It is lost with the process; named
// tasks are still created once.
type batches struct {
	mu    sync.Mutex // held while a request with an id is worked on
	done  map[string]*longrunningpb.Operation
	order []string
	bytes int // of all in done
}

// once answers a request id that was seen before with the same operation.
func (b *batches) once(parent, method, id string, f func() (*longrunningpb.Operation, error)) (*longrunningpb.Operation, error) {
	if id == "" {
		return f()
	}
	if len(id) > maxRequestID {
		return nil, invalid("The request id is %d bytes long; the most is %d.", len(id), maxRequestID)
	}
	key := strings.Join([]string{parent, method, id}, "\n")
	b.mu.Lock()
	defer b.mu.Unlock()
	if op, ok := b.done[key]; ok {
		return op, nil
	}
	op, err := f()
	if err != nil {
		return nil, err
	}
	if b.done == nil {
		b.done = make(map[string]*longrunningpb.Operation)
	}
	b.done[key] = op
	b.order = append(b.order, key)
	b.bytes += proto.Size(op)
	for len(b.order) > maxOperations || b.bytes > maxOperationBytes {
		b.bytes -= proto.Size(b.done[b.order[0]])
		delete(b.done, b.order[0])
		b.order = append(b.order[:0], b.order[1:]...)
	}
	return op, nil
}

// BatchCreateTasks implements google.cloud.tasks.v2. The operation is done when
// it is returned; tasks that can't be created don't keep the others back.
func (s *service) BatchCreateTasks(_ context.Context, r *cloudtaskspb.BatchCreateTasksRequest) (*longrunningpb.Operation, error) {
	if !validQueue(r.GetParent()) {
		return nil, errQueueName()
	}
	if n := len(r.GetRequests()); n == 0 || n > maxBatchCreate {
		return nil, invalid("A batch must create 1 to %d tasks, not %d.", maxBatchCreate, n)
	}
	for i, one := range r.GetRequests() {
		if one.GetParent() != r.GetParent() {
			return nil, invalid("The parent of request %d ('%s') must be the same as that of the batch ('%s').", i, one.GetParent(), r.GetParent())
		}
	}
	return s.batch.once(r.GetParent(), "create", r.GetRequestId(), func() (*longrunningpb.Operation, error) {
		response := new(cloudtaskspb.BatchCreateTasksResponse)
		meta := &cloudtaskspb.BatchCreateTasksMetadata{
			StartTime: timestamppb.Now(), State: cloudtaskspb.BatchCreateTasksMetadata_SUCCEEDED,
		}
		for i, one := range r.GetRequests() {
			t, err := s.createTask(one)
			if err == nil {
				response.Tasks = append(response.Tasks, t)
				continue
			}
			if meta.FailedRequests == nil {
				meta.FailedRequests = make(map[int32]*spb.Status)
			}
			meta.FailedRequests[int32(i)] = status.Convert(err).Proto()
		}
		if len(response.Tasks) == 0 {
			meta.State = cloudtaskspb.BatchCreateTasksMetadata_FAILED
		}
		meta.EndTime = timestamppb.Now()
		return operation(r.GetParent(), meta, response, len(response.Tasks) > 0)
	})
}

// BatchDeleteTasks implements google.cloud.tasks.v2, in the same way.
func (s *service) BatchDeleteTasks(_ context.Context, r *cloudtaskspb.BatchDeleteTasksRequest) (*longrunningpb.Operation, error) {
	if !validQueue(r.GetParent()) {
		return nil, errQueueName()
	}
	if n := len(r.GetNames()); n == 0 || n > maxBatchDelete {
		return nil, invalid("A batch must delete 1 to %d tasks, not %d.", maxBatchDelete, n)
	}
	return s.batch.once(r.GetParent(), "delete", r.GetRequestId(), func() (*longrunningpb.Operation, error) {
		meta := &cloudtaskspb.BatchDeleteTasksMetadata{
			StartTime: timestamppb.Now(), State: cloudtaskspb.BatchDeleteTasksMetadata_SUCCEEDED,
		}
		for i, name := range r.GetNames() {
			err := s.deleteTask(r.GetParent(), name)
			if err == nil {
				continue
			}
			if meta.FailedRequests == nil {
				meta.FailedRequests = make(map[int32]*spb.Status)
			}
			meta.FailedRequests[int32(i)] = status.Convert(err).Proto()
		}
		succeeded := len(meta.FailedRequests) < len(r.GetNames())
		if !succeeded {
			meta.State = cloudtaskspb.BatchDeleteTasksMetadata_FAILED
		}
		meta.EndTime = timestamppb.Now()
		return operation(r.GetParent(), meta, new(emptypb.Empty), succeeded)
	})
}

// deleteTask deletes a task that must be in the given queue.
func (s *service) deleteTask(parent, name string) error {
	queue, id, err := parseTask(name)
	if err != nil {
		return err
	}
	if queue != parent {
		return invalid("The queue name from request ('%s') must be the same as the queue name in the named task ('%s').", parent, queue)
	}
	return toStatus(s.engine.DeleteTask(queue, id), verbOther)
}

// operation is one that is done: with the response, or with an error when
// nothing succeeded.
func operation(queue string, meta, response proto.Message, succeeded bool) (*longrunningpb.Operation, error) {
	location, _, _ := strings.Cut(queue, "/queues/")
	packed, err := anypb.New(meta)
	if err != nil {
		return nil, err
	}
	op := &longrunningpb.Operation{
		Name: location + "/operations/" + strings.ToLower(rand.Text()), Metadata: packed, Done: true,
	}
	if !succeeded {
		op.Result = &longrunningpb.Operation_Error{Error: status.Newf(
			codes.Aborted, textNoneSucceeded, meta.ProtoReflect().Descriptor().Name()).Proto()}
		return op, nil
	}
	if packed, err = anypb.New(response); err != nil {
		return nil, err
	}
	op.Result = &longrunningpb.Operation_Response{Response: packed}
	return op, nil
}
