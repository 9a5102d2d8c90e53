package cloudtasks_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	v2 "cloud.google.com/go/cloudtasks/apiv2"
	v2pb "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	v2beta2 "cloud.google.com/go/cloudtasks/apiv2beta2"
	v2beta2pb "cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	v2beta3 "cloud.google.com/go/cloudtasks/apiv2beta3"
	v2beta3pb "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	locationpb "google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// clients are Google's Go clients of every version, over one transport.
type clients struct {
	v2    *v2.Client
	beta3 *v2beta3.Client
	beta2 *v2beta2.Client
}

// open opens one of Google's clients on the network of e.
func open[C interface{ Close() error }](e *env, rest bool, overGRPC, overREST func(context.Context, ...option.ClientOption) (C, error)) C {
	e.t.Helper()
	options := []option.ClientOption{option.WithoutAuthentication(), option.WithTelemetryDisabled()}
	dial := func(ctx context.Context, addr string) (net.Conn, error) { return e.net.DialContext(ctx, "tcp", addr) }
	connect := overGRPC
	if rest {
		connect = overREST
		transport := &http.Transport{DialContext: e.net.DialContext}
		e.t.Cleanup(transport.CloseIdleConnections)
		options = append(options, option.WithEndpoint("http://"+address), option.WithHTTPClient(&http.Client{Transport: transport}))
	} else {
		options = append(options, option.WithEndpoint("passthrough:///"+address),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
			option.WithGRPCDialOption(grpc.WithContextDialer(dial)))
	}
	client, err := connect(context.Background(), options...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { client.Close() })
	return client
}

func (e *env) clients(rest bool) clients {
	return clients{
		v2:    open(e, rest, v2.NewClient, v2.NewRESTClient),
		beta3: open(e, rest, v2beta3.NewClient, v2beta3.NewRESTClient),
		beta2: open(e, rest, v2beta2.NewClient, v2beta2.NewRESTClient),
	}
}

// overBoth runs a test with the clients over gRPC and over REST, each on a server
// and a clock of its own.
func overBoth(t *testing.T, test func(t *testing.T, e *env, c clients)) {
	for name, rest := range map[string]bool{"gRPC": false, "REST": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, nil, &recorder{})
				test(t, e, e.clients(rest))
			})
		})
	}
}

// code is that of an error of either transport.
func code(err error) codes.Code {
	if e, ok := errors.AsType[*apierror.APIError](err); ok && e.GRPCStatus() != nil {
		return e.GRPCStatus().Code()
	} else if ok {
		return map[int]codes.Code{404: codes.NotFound, 409: codes.AlreadyExists, 400: codes.InvalidArgument}[e.HTTPCode()]
	}
	return status.Code(err)
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

// What one version stores, the others leave alone.
func TestVersionsShareQueues(t *testing.T) {
	overBoth(t, func(t *testing.T, _ *env, c clients) {
		ctx := t.Context()
		ten := durationpb.New(240 * time.Hour)
		day := durationpb.New(24 * time.Hour)
		must[*v2beta3pb.Queue](t)(c.beta3.CreateQueue(ctx, &v2beta3pb.CreateQueueRequest{Parent: location, Queue: &v2beta3pb.Queue{
			Name: queue1, TaskTtl: ten, TombstoneTtl: day,
			RateLimits:               &v2beta3pb.RateLimits{MaxDispatchesPerSecond: 20, MaxBurstSize: 3},
			StackdriverLoggingConfig: &v2beta3pb.StackdriverLoggingConfig{SamplingRatio: 0.5},
			QueueType: &v2beta3pb.Queue_AppEngineHttpQueue{AppEngineHttpQueue: &v2beta3pb.AppEngineHttpQueue{
				AppEngineRoutingOverride: &v2beta3pb.AppEngineRouting{Service: "mail"},
			}},
		}}))

		q2 := must[*v2pb.Queue](t)(c.v2.UpdateQueue(ctx, &v2pb.UpdateQueueRequest{
			Queue:      &v2pb.Queue{Name: queue1, RetryConfig: &v2pb.RetryConfig{MaxAttempts: -1}, RateLimits: &v2pb.RateLimits{MaxBurstSize: 99}},
			UpdateMask: mask("retry_config.max_attempts", "retry_config.max_doublings", "rate_limits.max_burst_size"),
		}))
		if q2.GetRateLimits().GetMaxBurstSize() != 3 || q2.GetAppEngineRoutingOverride().GetHost() != "mail.p.us-central1.r.appspot.com" ||
			q2.GetRetryConfig().GetMaxDoublings() != 0 || q2.GetStackdriverLoggingConfig().GetSamplingRatio() != 0.5 {
			t.Errorf("v2 sees %v", q2)
		}

		b2 := must[*v2beta2pb.Queue](t)(c.beta2.UpdateQueue(ctx, &v2beta2pb.UpdateQueueRequest{
			Queue:      &v2beta2pb.Queue{Name: queue1, RateLimits: &v2beta2pb.RateLimits{MaxConcurrentTasks: 8}},
			UpdateMask: mask("rate_limits.max_concurrent_tasks"),
		}))
		if !b2.GetRetryConfig().GetUnlimitedAttempts() || b2.GetRateLimits().GetMaxTasksDispatchedPerSecond() != 20 || b2.GetTaskTtl().AsDuration() != ten.AsDuration() ||
			b2.GetAppEngineHttpTarget().GetAppEngineRoutingOverride().GetService() != "mail" {
			t.Errorf("v2beta2 sees %v", b2)
		}

		b3 := must[*v2beta3pb.Queue](t)(c.beta3.GetQueue(ctx, &v2beta3pb.GetQueueRequest{Name: queue1}))
		if b3.GetTaskTtl().AsDuration() != ten.AsDuration() || b3.GetTombstoneTtl().AsDuration() != day.AsDuration() || b3.GetRateLimits().GetMaxBurstSize() != 3 ||
			b3.GetRateLimits().GetMaxConcurrentDispatches() != 8 || b3.GetRetryConfig().GetMaxAttempts() != -1 || b3.GetRetryConfig().GetMaxDoublings() != 0 ||
			b3.GetStackdriverLoggingConfig().GetSamplingRatio() != 0.5 || b3.GetType() != v2beta3pb.Queue_PUSH || b3.GetStats() != nil ||
			b3.GetAppEngineHttpQueue().GetAppEngineRoutingOverride().GetService() != "mail" {
			t.Errorf("v2beta3 sees %v", b3)
		}

		// A new rate has a burst of its own, unless one is given with it.
		q2 = must[*v2pb.Queue](t)(c.v2.UpdateQueue(ctx, &v2pb.UpdateQueueRequest{
			Queue: &v2pb.Queue{Name: queue1, RateLimits: &v2pb.RateLimits{MaxDispatchesPerSecond: 30}}, UpdateMask: mask("rate_limits.max_dispatches_per_second"),
		}))
		if q2.GetRateLimits().GetMaxBurstSize() != 30 {
			t.Errorf("burst %d of a rate of 30", q2.GetRateLimits().GetMaxBurstSize())
		}
		b3 = must[*v2beta3pb.Queue](t)(c.beta3.UpdateQueue(ctx, &v2beta3pb.UpdateQueueRequest{
			Queue:      &v2beta3pb.Queue{Name: queue1, RateLimits: &v2beta3pb.RateLimits{MaxDispatchesPerSecond: 40, MaxBurstSize: 30}},
			UpdateMask: mask("rate_limits"),
		}))
		if b3.GetRateLimits().GetMaxBurstSize() != 30 || b3.GetRateLimits().GetMaxConcurrentDispatches() != 1000 {
			t.Errorf("a burst that was given: %v", b3.GetRateLimits())
		}

		// An empty mask means everything, an unlimited number of attempts included.
		b2 = must[*v2beta2pb.Queue](t)(c.beta2.UpdateQueue(ctx, &v2beta2pb.UpdateQueueRequest{Queue: &v2beta2pb.Queue{Name: queue1}}))
		if b2.GetRetryConfig().GetMaxAttempts() != 100 || b2.GetTaskTtl().AsDuration() != 31*24*time.Hour || b2.GetAppEngineHttpTarget().GetAppEngineRoutingOverride() != nil {
			t.Errorf("everything by default: %v", b2)
		}
		_, err := c.beta3.UpdateQueue(ctx, &v2beta3pb.UpdateQueueRequest{Queue: &v2beta3pb.Queue{Name: queue1, Type: v2beta3pb.Queue_PULL}})
		if code(err) != codes.InvalidArgument {
			t.Errorf("a push queue became a pull queue: %v", err)
		}
	})
}

// The life of a queue and a task, by each client.
func TestGoClients(t *testing.T) {
	overBoth(t, func(t *testing.T, _ *env, c clients) {
		ctx := t.Context()
		// v2
		must[*v2pb.Queue](t)(c.v2.CreateQueue(ctx, &v2pb.CreateQueueRequest{Parent: location, Queue: &v2pb.Queue{Name: queue1}}))
		must[*v2pb.Queue](t)(c.v2.PauseQueue(ctx, &v2pb.PauseQueueRequest{Name: queue1}))
		paused := c.v2.ListQueues(ctx, &v2pb.ListQueuesRequest{Parent: location, Filter: "state: PAUSED"})
		if q, err := paused.Next(); err != nil || q.GetName() != queue1 {
			t.Errorf("%v %v", q, err)
		}
		if _, err := paused.Next(); !errors.Is(err, iterator.Done) {
			t.Errorf("a second queue: %v", err)
		}
		must[*v2pb.Task](t)(c.v2.CreateTask(ctx, &v2pb.CreateTaskRequest{Parent: queue1, Task: post("a")}))
		op := must[*v2.BatchCreateTasksOperation](t)(c.v2.BatchCreateTasks(ctx, &v2pb.BatchCreateTasksRequest{Parent: queue1, Requests: []*v2pb.CreateTaskRequest{
			{Parent: queue1, Task: post("b")}, {Parent: queue1, Task: post("a")},
		}}))
		batch, err := op.Wait(ctx)
		if meta, _ := op.Metadata(); err != nil || len(batch.GetTasks()) != 1 || meta.GetFailedRequests()[1].GetCode() != int32(codes.AlreadyExists) {
			t.Errorf("%v %v %v", batch, err, meta)
		}
		again := must[*v2pb.BatchCreateTasksResponse](t)(c.v2.BatchCreateTasksOperation(op.Name()).Wait(ctx))
		if len(again.GetTasks()) != 1 {
			t.Errorf("the operation, later: %v", again)
		}
		policy := must[*iampb.Policy](t)(c.v2.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: queue1, Policy: &iampb.Policy{
			Bindings: []*iampb.Binding{{Role: "roles/viewer", Members: []string{"allUsers"}}},
		}}))
		read := must[*iampb.Policy](t)(c.v2.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: queue1}))
		if string(read.GetEtag()) != string(policy.GetEtag()) || len(read.GetBindings()) != 1 {
			t.Errorf("%v, then %v", policy, read)
		}
		where := must[*locationpb.Location](t)(c.v2.GetLocation(ctx, &locationpb.GetLocationRequest{Name: location}))
		if l, err := c.v2.ListLocations(ctx, &locationpb.ListLocationsRequest{Name: "projects/p"}).Next(); err != nil || l.GetName() != where.GetName() {
			t.Errorf("%v %v", l, err)
		}
		must[*v2pb.Task](t)(c.v2.RunTask(ctx, &v2pb.RunTaskRequest{Name: queue1 + "/tasks/a"}))
		synctest.Wait()
		if _, err := c.v2.GetTask(ctx, &v2pb.GetTaskRequest{Name: queue1 + "/tasks/a"}); code(err) != codes.NotFound {
			t.Errorf("a task that ran: %v", err)
		}

		// v2beta3
		measured := must[*v2beta3pb.Queue](t)(c.beta3.GetQueue(ctx, &v2beta3pb.GetQueueRequest{Name: queue1, ReadMask: mask("stats", "name")}))
		if s := measured.GetStats(); s.GetTasksCount() != 1 || s.GetExecutedLastMinuteCount() != 1 || s.GetEffectiveExecutionRate() != 500 ||
			s.GetOldestEstimatedArrivalTime() == nil || measured.GetRateLimits() != nil {
			t.Errorf("%v", measured)
		}
		b3 := must[*v2beta3pb.Task](t)(c.beta3.GetTask(ctx, &v2beta3pb.GetTaskRequest{Name: queue1 + "/tasks/b", ResponseView: v2beta3pb.Task_FULL}))
		if string(b3.GetHttpRequest().GetBody()) != "payload" || b3.GetDispatchDeadline().AsDuration() != 10*time.Minute {
			t.Errorf("%v", b3)
		}
		deleted := must[*v2beta3.BatchDeleteTasksOperation](t)(c.beta3.BatchDeleteTasks(ctx, &v2beta3pb.BatchDeleteTasksRequest{Parent: queue1, Names: []string{queue1 + "/tasks/b", queue1 + "/tasks/x"}}))
		if meta, err := deleted.Metadata(); err != nil || meta.GetState() != v2beta3pb.BatchDeleteTasksMetadata_SUCCEEDED || len(meta.GetFailedRequests()) != 1 {
			t.Errorf("%v %v", meta, err)
		}
		key := must[*v2beta3pb.CmekConfig](t)(c.beta3.UpdateCmekConfig(ctx, &v2beta3pb.UpdateCmekConfigRequest{
			CmekConfig: &v2beta3pb.CmekConfig{Name: location + "/cmekConfig", KmsKey: location + "/keyRings/r/cryptoKeys/k"}, UpdateMask: mask("kms_key"),
		}))
		if got := must[*v2pb.CmekConfig](t)(c.v2.GetCmekConfig(ctx, &v2pb.GetCmekConfigRequest{Name: key.GetName()})); got.GetKmsKey() != key.GetKmsKey() {
			t.Errorf("%v", got)
		}

		// v2beta2
		b2 := must[*v2beta2pb.Task](t)(c.beta2.CreateTask(ctx, &v2beta2pb.CreateTaskRequest{Parent: queue1, ResponseView: v2beta2pb.Task_FULL, Task: &v2beta2pb.Task{
			Name: queue1 + "/tasks/c",
			PayloadType: &v2beta2pb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &v2beta2pb.AppEngineHttpRequest{
				RelativeUrl: "/work", Payload: []byte("payload"), AppEngineRouting: &v2beta2pb.AppEngineRouting{Service: "mail"},
			}},
		}}))
		r := b2.GetAppEngineHttpRequest()
		if r.GetRelativeUrl() != "/work" || string(r.GetPayload()) != "payload" || r.GetHeaders()["Content-Length"] != "7" || r.GetAppEngineRouting().GetHost() != "mail.p.us-central1.r.appspot.com" {
			t.Errorf("%v", b2)
		}
		seen := must[*v2pb.Task](t)(c.v2.GetTask(ctx, &v2pb.GetTaskRequest{Name: queue1 + "/tasks/c", ResponseView: v2pb.Task_FULL}))
		if got := seen.GetAppEngineHttpRequest(); got.GetRelativeUri() != "/work" || string(got.GetBody()) != "payload" || got.GetHttpMethod() != v2pb.HttpMethod_POST {
			t.Errorf("v2 sees %v", seen)
		}
		must[*v2beta2pb.Task](t)(c.beta2.RunTask(ctx, &v2beta2pb.RunTaskRequest{Name: queue1 + "/tasks/c"}))
		synctest.Wait()
		failed := must[*v2beta2pb.Task](t)(c.beta2.GetTask(ctx, &v2beta2pb.GetTaskRequest{Name: queue1 + "/tasks/c"}))
		if s := failed.GetStatus(); s.GetAttemptDispatchCount() != 1 || s.GetFirstAttemptStatus().GetDispatchTime() == nil || s.GetLastAttemptStatus().GetDispatchTime() == nil ||
			failed.GetAppEngineHttpRequest().GetPayload() != nil {
			t.Errorf("after an attempt: %v", failed)
		}
		must[*v2beta2pb.Queue](t)(c.beta2.PurgeQueue(ctx, &v2beta2pb.PurgeQueueRequest{Name: queue1}))
		if _, err := c.beta2.ListTasks(ctx, &v2beta2pb.ListTasksRequest{Parent: queue1}).Next(); !errors.Is(err, iterator.Done) {
			t.Errorf("after a purge: %v", err)
		}
		if err := c.beta2.DeleteQueue(ctx, &v2beta2pb.DeleteQueueRequest{Name: queue1}); err != nil {
			t.Error(err)
		}
		granted := must[*iampb.TestIamPermissionsResponse](t)(c.v2.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{Resource: queue1, Permissions: []string{"cloudtasks.tasks.create"}}))
		if len(granted.GetPermissions()) != 0 {
			t.Errorf("permissions on a queue that is gone: %v", granted)
		}
	})
}

// A pull queue, by the version that has them, and what the others make of it.
func TestPullQueues(t *testing.T) {
	overBoth(t, func(t *testing.T, _ *env, c clients) {
		ctx := t.Context()
		must[*v2beta2pb.Queue](t)(c.beta2.CreateQueue(ctx, &v2beta2pb.CreateQueueRequest{Parent: location, Queue: &v2beta2pb.Queue{
			Name: queue1, TargetType: &v2beta2pb.Queue_PullTarget{PullTarget: &v2beta2pb.PullTarget{}},
			RetryConfig: &v2beta2pb.RetryConfig{NumAttempts: &v2beta2pb.RetryConfig_UnlimitedAttempts{UnlimitedAttempts: true}},
		}}))
		for _, id := range []string{"a", "b", "c"} {
			tag := map[string]string{"a": "red", "b": "blue", "c": "red"}[id]
			created := must[*v2beta2pb.Task](t)(c.beta2.CreateTask(ctx, &v2beta2pb.CreateTaskRequest{Parent: queue1, Task: &v2beta2pb.Task{
				Name:        queue1 + "/tasks/" + id,
				PayloadType: &v2beta2pb.Task_PullMessage{PullMessage: &v2beta2pb.PullMessage{Payload: []byte("payload " + id), Tag: tag}},
			}}))
			if created.GetPullMessage().GetPayload() != nil || created.GetPullMessage().GetTag() != tag {
				t.Errorf("the basic view of a task: %v", created)
			}
			time.Sleep(time.Millisecond)
		}
		leased := must[*v2beta2pb.LeaseTasksResponse](t)(c.beta2.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{
			Parent: queue1, MaxTasks: 10, LeaseDuration: durationpb.New(time.Minute), Filter: "tag_function=oldest_tag()", ResponseView: v2beta2pb.Task_FULL,
		})).GetTasks()
		if len(leased) != 2 || string(leased[0].GetPullMessage().GetPayload()) != "payload a" || leased[1].GetName() != queue1+"/tasks/c" || leased[0].GetStatus().GetAttemptDispatchCount() != 1 {
			t.Fatalf("%v", leased)
		}
		none := must[*v2beta2pb.LeaseTasksResponse](t)(c.beta2.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{Parent: queue1, MaxTasks: 10, LeaseDuration: durationpb.New(time.Minute), Filter: `tag="red"`}))
		if len(none.GetTasks()) != 0 {
			t.Errorf("leased twice: %v", none)
		}
		a := leased[0]
		renewed := must[*v2beta2pb.Task](t)(c.beta2.RenewLease(ctx, &v2beta2pb.RenewLeaseRequest{Name: a.GetName(), ScheduleTime: a.GetScheduleTime(), LeaseDuration: durationpb.New(time.Hour)}))
		if err := c.beta2.AcknowledgeTask(ctx, &v2beta2pb.AcknowledgeTaskRequest{Name: a.GetName(), ScheduleTime: a.GetScheduleTime()}); err == nil {
			t.Error("acknowledged with the lease before")
		}
		if err := c.beta2.AcknowledgeTask(ctx, &v2beta2pb.AcknowledgeTaskRequest{Name: a.GetName(), ScheduleTime: renewed.GetScheduleTime()}); err != nil {
			t.Error(err)
		}
		freed := must[*v2beta2pb.Task](t)(c.beta2.CancelLease(ctx, &v2beta2pb.CancelLeaseRequest{Name: leased[1].GetName(), ScheduleTime: leased[1].GetScheduleTime()}))
		if freed.GetScheduleTime().AsTime().After(time.Now()) {
			t.Errorf("%v", freed)
		}

		q2 := must[*v2pb.Queue](t)(c.v2.GetQueue(ctx, &v2pb.GetQueueRequest{Name: queue1}))
		b3 := must[*v2beta3pb.Queue](t)(c.beta3.GetQueue(ctx, &v2beta3pb.GetQueueRequest{Name: queue1, ReadMask: mask("type", "stats.tasks_count")}))
		if q2.GetRetryConfig().GetMaxAttempts() != -1 || b3.GetType() != v2beta3pb.Queue_PULL || b3.GetStats().GetTasksCount() != 2 {
			t.Errorf("%v %v", q2, b3)
		}
		t2 := must[*v2pb.Task](t)(c.v2.GetTask(ctx, &v2pb.GetTaskRequest{Name: queue1 + "/tasks/b", ResponseView: v2pb.Task_FULL}))
		t3 := must[*v2beta3pb.Task](t)(c.beta3.GetTask(ctx, &v2beta3pb.GetTaskRequest{Name: queue1 + "/tasks/b", ResponseView: v2beta3pb.Task_FULL}))
		if t2.GetMessageType() != nil || string(t3.GetPullMessage().GetPayload()) != "payload b" || t3.GetPullMessage().GetTag() != "blue" {
			t.Errorf("%v %v", t2, t3)
		}
		for what, err := range map[string]error{
			"an HTTP task": second(c.v2.CreateTask(ctx, &v2pb.CreateTaskRequest{Parent: queue1, Task: post("")})),
			"no tasks":     second(c.beta2.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{Parent: queue1, LeaseDuration: durationpb.New(time.Minute)})),
			"too many":     second(c.beta2.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{Parent: queue1, MaxTasks: 1001, LeaseDuration: durationpb.New(time.Minute)})),
			"no duration":  second(c.beta2.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{Parent: queue1, MaxTasks: 1})),
			"too long":     second(c.beta2.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{Parent: queue1, MaxTasks: 1, LeaseDuration: durationpb.New(8 * 24 * time.Hour)})),
			"a bad filter": second(c.beta2.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{Parent: queue1, MaxTasks: 1, LeaseDuration: durationpb.New(time.Minute), Filter: "red"})),
			"no time":      c.beta2.AcknowledgeTask(ctx, &v2beta2pb.AcknowledgeTaskRequest{Name: queue1 + "/tasks/b"}),
			"a target": second(c.beta3.UpdateQueue(ctx, &v2beta3pb.UpdateQueueRequest{
				Queue: &v2beta3pb.Queue{Name: queue1, HttpTarget: &v2beta3pb.HttpTarget{}}, UpdateMask: mask("http_target")})),
		} {
			if code(err) != codes.InvalidArgument {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := c.v2.RunTask(ctx, &v2pb.RunTaskRequest{Name: queue1 + "/tasks/b"}); err == nil {
			t.Error("a pull task ran")
		}
		if err := c.beta2.AcknowledgeTask(ctx, &v2beta2pb.AcknowledgeTaskRequest{Name: queue1 + "/tasks/b", ScheduleTime: timestamppb.Now()}); err == nil {
			t.Error("acknowledged without a lease")
		}
	})
}

func second[T any](_ T, err error) error { return err }
