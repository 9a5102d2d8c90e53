package service

import (
	"crypto/rand"
	"errors"
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

const (
	maxBatchCreate = 100
	maxBatchDelete = 1000
	maxRequestID   = 128

	textNoneSucceeded = "None of the requests succeeded, refer to %s.failed_requests for individual error details"
)

// A Batch says which batch a request is. Requests of one version, parent, method
// and id are the same one; those without an id never are.
type Batch struct {
	Version, Parent, RequestID string
}

// A Creation is one request of a batch.
type Creation struct {
	Parent string
	Task   *Task
	View   View
}

// BatchCreateTasks creates tasks; those that can't be created don't keep the
// others back. The operation is done when it is returned: pack makes the
// messages of the version.
func (s *Service) BatchCreateTasks(b Batch, creations []Creation,
	pack func(*cloudtaskspb.BatchCreateTasksMetadata, []*Task) (metadata, response proto.Message)) (*longrunningpb.Operation, error) {
	if !validQueue(b.Parent) {
		return nil, errQueueName()
	}
	if n := len(creations); n == 0 || n > maxBatchCreate {
		return nil, Invalid("A batch must create 1 to %d tasks, not %d.", maxBatchCreate, n)
	}
	for i, c := range creations {
		if c.Parent != b.Parent {
			return nil, Invalid("The parent of request %d ('%s') must be the same as that of the batch ('%s').", i, c.Parent, b.Parent)
		}
	}
	return s.once(b, "create", func(remember func(*longrunningpb.Operation) ([]engine.Note, error)) (op *longrunningpb.Operation, err error) {
		meta := &cloudtaskspb.BatchCreateTasksMetadata{
			StartTime: timestamppb.New(s.now()), State: cloudtaskspb.BatchCreateTasksMetadata_SUCCEEDED,
		}
		failed := make(failures)
		var tasks []engine.NewTask
		var places []int // in creations
		for i, c := range creations {
			n, err := s.newTask(b.Parent, c.Task, c.View)
			if err == nil {
				err = s.checkKind(b.Parent, c.Task)
			}
			if err != nil {
				failed.add(i, err)
				continue
			}
			tasks, places = append(tasks, n), append(places, i)
		}
		finish := func(outcomes []engine.Outcome) ([]engine.Note, error) {
			var created []*Task
			for j, o := range outcomes {
				if c := creations[places[j]]; o.Err != nil {
					failed.add(places[j], toStatus(o.Err, verbCreateTask))
				} else {
					created = append(created, c.Task.render(o.Task, c.View))
				}
			}
			if meta.FailedRequests = failed; len(created) == 0 {
				meta.State = cloudtaskspb.BatchCreateTasksMetadata_FAILED
			}
			meta.EndTime = timestamppb.New(s.now())
			metadata, response := pack(meta, created)
			if op, err = operation(b.Parent, metadata, response, len(created) > 0); err != nil {
				return nil, err
			}
			return remember(op)
		}
		_, err = s.engine.CreateTasks(b.Parent, tasks, finish)
		if errors.Is(err, engine.ErrQueueMissing) {
			outcomes := make([]engine.Outcome, len(tasks))
			for i := range outcomes {
				outcomes[i].Err = err
			}
			err = s.rememberAlone(finish(outcomes))
		}
		return op, err
	})
}

// BatchDeleteTasks deletes tasks, in the same way.
func (s *Service) BatchDeleteTasks(b Batch, names []string,
	pack func(*cloudtaskspb.BatchDeleteTasksMetadata) (metadata proto.Message)) (*longrunningpb.Operation, error) {
	if !validQueue(b.Parent) {
		return nil, errQueueName()
	}
	if n := len(names); n == 0 || n > maxBatchDelete {
		return nil, Invalid("A batch must delete 1 to %d tasks, not %d.", maxBatchDelete, n)
	}
	return s.once(b, "delete", func(remember func(*longrunningpb.Operation) ([]engine.Note, error)) (op *longrunningpb.Operation, err error) {
		meta := &cloudtaskspb.BatchDeleteTasksMetadata{
			StartTime: timestamppb.New(s.now()), State: cloudtaskspb.BatchDeleteTasksMetadata_SUCCEEDED,
		}
		failed := make(failures)
		var ids []string
		var places []int // in names
		for i, name := range names {
			queue, id, err := parseTask(name)
			if err == nil && queue != b.Parent {
				err = Invalid(textOtherQueue, b.Parent, queue)
			}
			if err != nil {
				failed.add(i, err)
				continue
			}
			ids, places = append(ids, id), append(places, i)
		}
		_, err = s.engine.DeleteTasks(b.Parent, ids, func(outcomes []engine.Outcome) ([]engine.Note, error) {
			for j, o := range outcomes {
				if o.Err != nil {
					failed.add(places[j], toStatus(o.Err, verbOther))
				}
			}
			succeeded := len(failed) < len(names)
			if meta.FailedRequests = failed; !succeeded {
				meta.State = cloudtaskspb.BatchDeleteTasksMetadata_FAILED
			}
			meta.EndTime = timestamppb.New(s.now())
			if op, err = operation(b.Parent, pack(meta), new(emptypb.Empty), succeeded); err != nil {
				return nil, err
			}
			return remember(op)
		})
		return op, err
	})
}

type failures map[int32]*spb.Status

func (f failures) add(i int, err error) { f[int32(i)] = status.Convert(err).Proto() }

// once answers a request id that was seen before with the same operation, and
// lets a new one's operation be remembered with what it did.
func (s *Service) once(b Batch, method string,
	run func(remember func(*longrunningpb.Operation) ([]engine.Note, error)) (*longrunningpb.Operation, error)) (*longrunningpb.Operation, error) {
	key := ""
	if b.RequestID != "" {
		if len(b.RequestID) > maxRequestID {
			return nil, Invalid("The request id is %d bytes long; the most is %d.", len(b.RequestID), maxRequestID)
		}
		key = strings.Join([]string{"batch", b.Version, b.Parent, method, b.RequestID}, "\n")
		defer s.batches.lock(key)()
		if name, ok := s.engine.Recall(key); ok {
			if op, err := s.GetOperation(string(name)); err == nil {
				return op, nil
			}
		}
	}
	op, err := run(func(op *longrunningpb.Operation) ([]engine.Note, error) {
		value, err := proto.Marshal(op)
		if err != nil {
			return nil, err
		}
		notes := []engine.Note{{Key: operationKey(op.GetName()), Value: value}}
		if key != "" {
			notes = append(notes, engine.Note{Key: key, Value: []byte(op.GetName())})
		}
		return notes, nil
	})
	if err != nil {
		return nil, toStatus(err, verbOther)
	}
	return op, nil
}

// rememberAlone remembers what came with no other change.
func (s *Service) rememberAlone(notes []engine.Note, err error) error {
	if err != nil {
		return err
	}
	return s.engine.Remember(notes...)
}

func operationKey(name string) string { return "operation\n" + name }

// GetOperation returns the operation of a batch, if it isn't too long ago.
func (s *Service) GetOperation(name string) (*longrunningpb.Operation, error) {
	value, ok := s.engine.Recall(operationKey(name))
	if !ok {
		return nil, status.Error(codes.NotFound, textMissing)
	}
	op := new(longrunningpb.Operation)
	return op, proto.Unmarshal(value, op)
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
