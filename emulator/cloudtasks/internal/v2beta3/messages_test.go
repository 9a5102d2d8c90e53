package v2beta3

import (
	"testing"

	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/apitest"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// Every field that clients can set comes back.
func TestQueuesComeBack(t *testing.T) {
	for choice := range 2 {
		want := new(cloudtaskspb.Queue)
		apitest.Fill(want, choice)
		want.Stats = nil // only the service has them
		q := new(service.Queue)
		if err := describe(q, want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, queue(q), protocmp.Transform()); diff != "" {
			t.Errorf("with the oneof's member %d (-want +got):\n%s", choice, diff)
		}
	}
}

func TestTasksComeBack(t *testing.T) {
	for choice := range 6 {
		want := new(cloudtaskspb.Task)
		apitest.Fill(want, choice)
		if diff := cmp.Diff(want, task(newTask(want)), protocmp.Transform()); diff != "" {
			t.Errorf("with the oneof's member %d (-want +got):\n%s", choice, diff)
		}
	}
}
