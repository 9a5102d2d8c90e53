package tasks_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator"
	dsemulator "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/tasks"
)

// CreateTask hangs until ctx ends.
func (*hangingQueue) CreateTask(ctx context.Context, _ *cloudtaskspb.CreateTaskRequest, _ ...gax.CallOption) (*cloudtaskspb.Task, error) {
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func withConcurrency(mode string) *emulatortest.Options {
	return &emulatortest.Options{Suite: &emulator.Options{Datastore: &dsemulator.Options{Concurrency: mode}}}
}

// The tasks of a large transaction go by batches of 100; what a batch refuses
// stays in the outbox, alone.
func TestBatches(t *testing.T) {
	later := &tasks.EnqueueOptions{Delay: 24 * time.Hour}
	gone := tasks.NewClass("gone", &tasks.ClassOptions[int]{Queue: "no-such-queue"})
	tests := []struct {
		name                  string
		mail, gone            int
		fault                 fault.Fault // of the first batch
		batches, single, left int
	}{
		{name: "few", mail: 3, single: 3},
		{name: "one batch", mail: 100, batches: 1},
		{name: "three", mail: 250, batches: 3},
		{name: "a queue that does not exist", mail: 5, gone: 4, batches: 2, left: 4},
		{name: "lost answer", mail: 10, fault: fault.Lose(status.Error(codes.Unavailable, "x")), batches: 1, left: 10},
		{name: "unimplemented", mail: 10, fault: fault.Fail(status.Error(codes.Unimplemented, "x")), batches: 1, single: 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, &emulatortest.Options{AllowOutbox: tt.left > 0}, func(t *testing.T, x *fixture) {
				var script fault.Script
				if tt.fault != nil {
					script.On("BatchCreateTasks", 1, tt.fault)
				}
				x.CreateQueue("mail", nil)
				o := httpOptions()
				o.Project, o.Location = x.Project, x.Location
				client, err := tasks.NewClient(x.Datastore, x.NewTasksClient(grpc.WithUnaryInterceptor(script.Unary())), o)
				if err != nil {
					t.Fatal(err)
				}
				err = client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
					for i := range tt.mail {
						if _, err := mail.EnqueueTx(tx, email{fmt.Sprint(i)}, later); err != nil {
							return err
						}
					}
					for i := range tt.gone {
						if _, err := gone.EnqueueTx(tx, i, later); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				left := 0
				for e, err := range client.Outbox(t.Context(), 0) {
					if err != nil {
						t.Fatal(err)
					}
					left += len(e.Classes)
				}
				if b, s := script.Calls("BatchCreateTasks"), script.Calls("CreateTask"); b != tt.batches || s != tt.single || left != tt.left {
					t.Errorf("%d batches, %d single calls, %d tasks left; want %d, %d, %d", b, s, left, tt.batches, tt.single, tt.left)
				}
				x.RequireEnqueued("mail", "mail", tt.mail)
				if tt.left > 0 { // a sweep finds that they exist, or that they still can't
					x.Advance(time.Minute)
					if _, err := client.SweepOutbox(t.Context(), 0, 1); err != nil {
						t.Fatal(err)
					}
					x.RequireEnqueued("mail", "mail", tt.mail)
				}
			})
		})
	}
}
