package v2beta2

import (
	"testing"

	v2 "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/apitest"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// Every field that clients can set comes back.
func TestQueuesComeBack(t *testing.T) {
	for choice := range 6 {
		want := new(cloudtaskspb.Queue)
		apitest.Fill(want, choice)
		want.Stats = nil // only the service has them
		q := &service.Queue{Queue: new(v2.Queue)}
		if want.GetPullTarget() != nil { // its limits are output only
			want.RateLimits = &cloudtaskspb.RateLimits{MaxConcurrentTasks: unlimited}
		}
		describe(q, want)
		if diff := cmp.Diff(want, queue(q), protocmp.Transform()); diff != "" {
			t.Errorf("with the oneof's member %d (-want +got):\n%s", choice, diff)
		}
	}
}

func TestTasksComeBack(t *testing.T) {
	for choice := range 6 {
		want := new(cloudtaskspb.Task)
		apitest.Fill(want, choice)
		want.Status = new(cloudtaskspb.TaskStatus) // only the service has it
		if diff := cmp.Diff(want, task(newTask(want)), protocmp.Transform()); diff != "" {
			t.Errorf("with the oneof's member %d (-want +got):\n%s", choice, diff)
		}
	}
}
