package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	batchFrom  = 4       // fewer tasks of a queue are created one by one
	batchTasks = 100     // the queue's limit
	batchBytes = 2 << 20 // well below what a gRPC message may have
	submitters = 16      // calls at once for one outbox entity
)

// batchSubmitter is what a Submitter may be as well: *cloudtasks.Client is.
type batchSubmitter interface {
	BatchCreateTasks(ctx context.Context, req *cloudtaskspb.BatchCreateTasksRequest, opts ...gax.CallOption) (*cloudtasks.BatchCreateTasksOperation, error)
}

// createAll creates tasks, and returns for each why its existence isn't proved.
func (c *Client) createAll(ctx context.Context, messages []message) []error {
	errs := make([]error, len(messages))
	var wg sync.WaitGroup
	turn := make(chan struct{}, submitters)
	for _, batch := range c.batches(messages) {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			if len(batch) > 1 {
				c.createBatch(ctx, messages, batch, errs)
				return
			}
			_, errs[batch[0]] = c.enqueue(ctx, messages[batch[0]])
		})
	}
	wg.Wait()
	return errs
}

// batches splits the indices of messages into calls, each of one queue.
func (c *Client) batches(messages []message) (batches [][]int) {
	byQueue := make(map[string][]int)
	_, can := c.submit.(batchSubmitter)
	for i, m := range messages {
		byQueue[m.Spec.Queue] = append(byQueue[m.Spec.Queue], i)
	}
	for _, indices := range byQueue {
		single := !can || len(indices) < batchFrom
		n, size := 0, 0
		for _, i := range indices {
			if b := len(messages[i].body); n == 0 || single || n == batchTasks || size+b > batchBytes {
				batches = append(batches, nil)
				n, size = 0, 0
			}
			last := &batches[len(batches)-1]
			*last = append(*last, i)
			n, size = n+1, size+len(messages[i].body)
		}
	}
	return batches
}

// createBatch sets errs of the messages in batch. What the answer doesn't prove
// stays unproved.
func (c *Client) createBatch(ctx context.Context, messages []message, batch []int, errs []error) {
	req := &cloudtaskspb.BatchCreateTasksRequest{Parent: c.parent + messages[batch[0]].Spec.Queue}
	for _, i := range batch {
		req.Requests = append(req.Requests, c.request(messages[i]))
	}
	op, err := c.submit.(batchSubmitter).BatchCreateTasks(ctx, req)
	if status.Code(err) == codes.Unimplemented { // older emulators
		for _, i := range batch {
			_, errs[i] = c.enqueue(ctx, messages[i])
		}
		return
	}
	created := make(map[string]bool)
	var failed map[int32]error
	if err == nil {
		created, failed, err = batchAnswer(ctx, op)
	}
	for n, one := range req.Requests {
		i := batch[n]
		why, ok := failed[int32(n)]
		switch {
		case created[one.GetTask().GetName()], ok && status.Code(why) == codes.AlreadyExists:
			errs[i] = nil
		case ok:
			errs[i] = fmt.Errorf("tasks: create a task of class %s in queue %s: %w", messages[i].Envelope.Class, messages[i].Spec.Queue, why)
		case err != nil:
			errs[i] = fmt.Errorf("tasks: create %d tasks in queue %s: %w", len(batch), messages[i].Spec.Queue, err)
		default:
			errs[i] = errors.New("tasks: the answer to a batch says nothing of task " + messages[i].Name)
		}
	}
}

// batchAnswer reads an operation, which is usually done when it is returned.
// When every request failed, the operation itself has, too.
func batchAnswer(ctx context.Context, op *cloudtasks.BatchCreateTasksOperation) (created map[string]bool, failed map[int32]error, err error) {
	resp, err := op.Wait(ctx)
	created = make(map[string]bool)
	for _, t := range resp.GetTasks() {
		created[t.GetName()] = true
	}
	meta, merr := op.Metadata()
	if merr != nil {
		return created, nil, errors.Join(err, merr)
	}
	failed = make(map[int32]error)
	for i, s := range meta.GetFailedRequests() {
		failed[i] = status.ErrorProto(s)
	}
	return created, failed, err
}
