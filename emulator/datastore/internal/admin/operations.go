package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Bounds of the operations: how many may run at once, how many are remembered
// after they have ended, and for how long the call that starts one waits for
// its end, so that little ones are answered whole.
const (
	maxRunning  = 10
	maxFinished = 1000
	quickly     = 2 * time.Second
)

// operations implements google.longrunning.Operations.
type operations struct {
	lro.UnimplementedOperationsServer

	mu      sync.Mutex
	all     []*operation // the oldest first
	running int
	closed  bool
	work    sync.WaitGroup
}

// operation is one that runs or has ended.
type operation struct {
	name     string
	labels   map[string]string
	kind     adminpb.OperationType
	describe func(*adminpb.CommonMetadata, *progress) proto.Message
	progress progress
	start    time.Time
	cancel   context.CancelFunc
	ended    chan struct{}

	// Of those that have ended, which closes the channel.
	end    time.Time
	answer proto.Message
	err    error
}

// progress is how far an operation has got.
type progress struct{ entities, allEntities, bytes, allBytes atomic.Int64 }

func (p *progress) ofEntities() *adminpb.Progress {
	return &adminpb.Progress{WorkCompleted: p.entities.Load(), WorkEstimated: p.allEntities.Load()}
}

func (p *progress) ofBytes() *adminpb.Progress {
	return &adminpb.Progress{WorkCompleted: p.bytes.Load(), WorkEstimated: p.allBytes.Load()}
}

// task is what an operation does.
type task struct {
	kind   adminpb.OperationType
	labels map[string]string
	// describe makes the operation's metadata.
	describe func(*adminpb.CommonMetadata, *progress) proto.Message
	do       func(context.Context, *progress) (proto.Message, error)
	release  func() // if not nil, called once: after do, or in its place
}

func (t task) done() {
	if t.release != nil {
		t.release()
	}
}

// start starts an operation of the project. The answer has its end, if that
// comes quickly.
func (o *operations) start(ctx context.Context, project string, t task) (*lro.Operation, error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	op := &operation{
		name: "projects/" + project + "/operations/" + rand.Text(), labels: t.labels, kind: t.kind, describe: t.describe,
		start: time.Now(), cancel: cancel, ended: make(chan struct{}),
	}
	err := o.begin(op, func() {
		defer cancel()
		answer, err := t.do(running, &op.progress)
		t.done()
		o.finish(op, answer, err)
	})
	if err != nil {
		cancel()
		t.done()
		return nil, err
	}
	wait, stop := context.WithTimeout(ctx, quickly)
	defer stop()
	select {
	case <-op.ended:
	case <-wait.Done():
	}
	return o.render(op)
}

func (o *operations) begin(op *operation, do func()) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return status.Error(codes.Unavailable, "the server is shutting down")
	case o.running >= maxRunning:
		return status.Errorf(codes.ResourceExhausted, "%d operations are running: no more can be started before one ends", o.running)
	}
	o.running++
	o.all = append(o.all, op)
	o.work.Go(do)
	return nil
}

func (o *operations) finish(op *operation, answer proto.Message, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	op.answer, op.err, op.end = answer, err, time.Now()
	close(op.ended)
	o.running--
	// What has ended first goes first.
	if excess := len(o.all) - o.running - maxFinished; excess > 0 {
		o.all = slices.DeleteFunc(o.all, func(op *operation) bool {
			if excess == 0 || !op.done() {
				return false
			}
			excess--
			return true
		})
	}
}

func (op *operation) done() bool {
	select {
	case <-op.ended:
		return true
	default:
		return false
	}
}

// close cancels what runs and waits for its end.
func (o *operations) close() {
	o.mu.Lock()
	o.closed = true
	for _, op := range o.all {
		op.cancel()
	}
	o.mu.Unlock()
	o.work.Wait()
}

// render is the operation as the API has it.
func (o *operations) render(op *operation) (*lro.Operation, error) {
	common := &adminpb.CommonMetadata{StartTime: timestamppb.New(op.start), OperationType: op.kind, Labels: op.labels, State: adminpb.CommonMetadata_PROCESSING}
	out := &lro.Operation{Name: op.name}
	if op.done() {
		out.Done = true
		common.EndTime = timestamppb.New(op.end)
		if op.err == nil {
			common.State = adminpb.CommonMetadata_SUCCESSFUL
			answer, err := anypb.New(op.answer)
			if err != nil {
				return nil, err
			}
			out.Result = &lro.Operation_Response{Response: answer}
		} else {
			common.State = adminpb.CommonMetadata_FAILED
			failed := toStatus(op.err)
			if failed.Code() == codes.Canceled {
				common.State = adminpb.CommonMetadata_CANCELLED
			}
			out.Result = &lro.Operation_Error{Error: failed.Proto()}
		}
	}
	metadata, err := anypb.New(op.describe(common, &op.progress))
	out.Metadata = metadata
	return out, err
}

// toStatus keeps a status that an error has, and what it wraps around it.
func toStatus(err error) *status.Status {
	switch {
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, texts.Bound("the operation was cancelled: "+err.Error()))
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, texts.Bound(err.Error()))
	}
	if s, ok := status.FromError(err); ok {
		return status.New(s.Code(), texts.Bound(s.Message()))
	}
	return status.New(codes.Internal, texts.Bound(err.Error()))
}

func (o *operations) find(name string) (*operation, error) {
	if parts := strings.Split(name, "/"); len(parts) != 4 || parts[0] != "projects" || parts[2] != "operations" || slices.Contains(parts, "") {
		return nil, invalid("%q is not the name of an operation: projects/PROJECT/operations/OPERATION", name)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, op := range o.all {
		if op.name == name {
			return op, nil
		}
	}
	return nil, status.Error(codes.NotFound, texts.Sprintf("there is no operation %q; the last %d that have ended are remembered, until the emulator is restarted", name, maxFinished))
}

func invalid(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, texts.Sprintf(format, args...))
}

// GetOperation implements the RPC.
func (o *operations) GetOperation(_ context.Context, req *lro.GetOperationRequest) (*lro.Operation, error) {
	op, err := o.find(req.GetName())
	if err != nil {
		return nil, err
	}
	return o.render(op)
}

// WaitOperation implements the RPC.
func (o *operations) WaitOperation(ctx context.Context, req *lro.WaitOperationRequest) (*lro.Operation, error) {
	op, err := o.find(req.GetName())
	if err != nil {
		return nil, err
	}
	if timeout := req.GetTimeout(); timeout != nil {
		if err := timeout.CheckValid(); err != nil {
			return nil, invalid("timeout: %v", err)
		}
		wait, stop := context.WithTimeout(ctx, timeout.AsDuration())
		defer stop()
		ctx = wait
	}
	select {
	case <-op.ended:
	case <-ctx.Done(): // the operation as it is then, says the API
	}
	return o.render(op)
}

// CancelOperation implements the RPC. One that has ended stays as it is.
func (o *operations) CancelOperation(_ context.Context, req *lro.CancelOperationRequest) (*emptypb.Empty, error) {
	op, err := o.find(req.GetName())
	if err != nil {
		return nil, err
	}
	op.cancel()
	return &emptypb.Empty{}, nil
}

// DeleteOperation implements the RPC.
func (o *operations) DeleteOperation(_ context.Context, req *lro.DeleteOperationRequest) (*emptypb.Empty, error) {
	op, err := o.find(req.GetName())
	if err != nil {
		return nil, err
	}
	if !op.done() {
		return nil, status.Error(codes.FailedPrecondition, "the operation is running: cancel it first")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = slices.DeleteFunc(o.all, func(p *operation) bool { return p == op })
	return &emptypb.Empty{}, nil
}

// ListOperations implements the RPC, the newest first.
func (o *operations) ListOperations(_ context.Context, req *lro.ListOperationsRequest) (*lro.ListOperationsResponse, error) {
	project := strings.TrimSuffix(req.GetName(), "/operations")
	if rest, ok := strings.CutPrefix(project, "projects/"); !ok || rest == "" || strings.Contains(rest, "/") {
		return nil, invalid("%q is not a project: projects/PROJECT", req.GetName())
	}
	switch {
	case req.GetFilter() != "":
		return nil, status.Error(codes.Unimplemented, "this emulator does not filter operations: leave the filter out")
	case req.GetPageSize() < 0:
		return nil, invalid("page_size is %d: it must not be negative", req.GetPageSize())
	}
	size := min(cmp.Or(int(req.GetPageSize()), defaultPage), defaultPage)
	resp := &lro.ListOperationsResponse{}
	o.mu.Lock()
	defer o.mu.Unlock()
	begun := req.GetPageToken() == ""
	for _, op := range slices.Backward(o.all) {
		if !strings.HasPrefix(op.name, project+"/") {
			continue
		}
		if !begun {
			begun = op.name == req.GetPageToken()
		}
		if !begun {
			continue
		}
		if len(resp.Operations) == size {
			resp.NextPageToken = op.name
			return resp, nil
		}
		rendered, err := o.render(op)
		if err != nil {
			return nil, err
		}
		resp.Operations = append(resp.Operations, rendered)
	}
	if !begun {
		return nil, invalid("page_token %q is not one of a previous answer, or its operation is forgotten", req.GetPageToken())
	}
	return resp, nil
}

const defaultPage = 100
