package cloudtasks_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	v2beta3pb "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// What the API acknowledged is there after a restart: batches by their request
// ids and their operations, policies, keys, and pull messages.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ctx := t.Context()
		policy := &iampb.SetIamPolicyRequest{Resource: queue1, Policy: &iampb.Policy{Bindings: []*iampb.Binding{{Role: "roles/viewer", Members: []string{"allUsers"}}}}}
		key := &cloudtaskspb.CmekConfig{Name: location + "/cmekConfig", KmsKey: location + "/keyRings/r/cryptoKeys/k"}
		batch := func() *cloudtaskspb.BatchCreateTasksRequest {
			r := &cloudtaskspb.BatchCreateTasksRequest{Parent: queue1, RequestId: "one"}
			for _, task := range []*cloudtaskspb.Task{post("a"), post(""), post("x y")} {
				task.ScheduleTime = timestamppb.Now()
				r.Requests = append(r.Requests, &cloudtaskspb.CreateTaskRequest{Parent: queue1, Task: task})
			}
			return r
		}
		pull := location + "/queues/pull"

		var first *cloudtaskspb.BatchCreateTasksResponse
		var name string
		var stored *iampb.Policy
		var message *v2beta3pb.Task
		run := func(f func(e *env, c clients)) {
			e := start(t, &cloudtasks.Options{Dir: dir}, &recorder{})
			f(e, e.clients(false))
			if err := e.server.Close(); err != nil {
				t.Fatal(err)
			}
		}
		run(func(e *env, c clients) {
			e.pausedTarget()
			op := must[interface {
				Name() string
			}](t)(c.v2.BatchCreateTasks(ctx, batch()))
			name = op.Name()
			first = must[*cloudtaskspb.BatchCreateTasksResponse](t)(c.v2.BatchCreateTasksOperation(name).Wait(ctx))
			stored = must[*iampb.Policy](t)(c.v2.SetIamPolicy(ctx, policy))
			must[*cloudtaskspb.CmekConfig](t)(c.v2.UpdateCmekConfig(ctx, &cloudtaskspb.UpdateCmekConfigRequest{CmekConfig: key}))
			must[*v2beta3pb.Queue](t)(c.beta3.CreateQueue(ctx, &v2beta3pb.CreateQueueRequest{Parent: location, Queue: &v2beta3pb.Queue{Name: pull, Type: v2beta3pb.Queue_PULL}}))
			message = must[*v2beta3pb.Task](t)(c.beta3.CreateTask(ctx, &v2beta3pb.CreateTaskRequest{Parent: pull, ResponseView: v2beta3pb.Task_FULL, Task: &v2beta3pb.Task{
				Name: pull + "/tasks/a", PayloadType: &v2beta3pb.Task_PullMessage{PullMessage: &v2beta3pb.PullMessage{Payload: []byte("payload"), Tag: "red"}},
			}}))
			if len(first.GetTasks()) != 2 || message.GetPullMessage().GetTag() != "red" {
				t.Fatalf("%v %v", first, message)
			}
		})
		run(func(_ *env, c clients) {
			op, err := c.v2.BatchCreateTasks(ctx, batch())
			if err != nil || op.Name() != name {
				t.Fatalf("%v, %v: the batch came again", op, err)
			}
			again := must[*cloudtaskspb.BatchCreateTasksResponse](t)(op.Wait(ctx))
			if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
				t.Errorf("the batch again (-first +second):\n%s", diff)
			}
			other := batch()
			other.RequestId = "two"
			op, err = c.v2.BatchCreateTasks(ctx, other)
			if err != nil || op.Name() == name {
				t.Fatalf("%v, %v: another batch", op, err)
			}
			if got, err := op.Wait(ctx); err != nil || len(got.GetTasks()) != 1 {
				t.Errorf("another batch made %v %v", got, err)
			}
			if p := must[*iampb.Policy](t)(c.v2.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: queue1})); !bytes.Equal(p.GetEtag(), stored.GetEtag()) || len(p.GetBindings()) != 1 {
				t.Errorf("policy %v, was %v", p, stored)
			}
			if k := must[*cloudtaskspb.CmekConfig](t)(c.v2.GetCmekConfig(ctx, &cloudtaskspb.GetCmekConfigRequest{Name: key.GetName()})); k.GetKmsKey() != key.GetKmsKey() {
				t.Errorf("key %v", k)
			}
			m := must[*v2beta3pb.Task](t)(c.beta3.GetTask(ctx, &v2beta3pb.GetTaskRequest{Name: pull + "/tasks/a", ResponseView: v2beta3pb.Task_FULL}))
			if diff := cmp.Diff(message, m, protocmp.Transform()); diff != "" {
				t.Errorf("a pull task (-before +after):\n%s", diff)
			}

			// A queue takes its policy with it.
			if err := c.v2.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: queue1}); err != nil {
				t.Error(err)
			}
			if _, err := c.v2.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: queue1}); code(err) != codes.NotFound {
				t.Errorf("the policy of a deleted queue: %v", err)
			}
		})
	})
}
