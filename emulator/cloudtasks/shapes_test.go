package cloudtasks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// show renders a message; protojson alone varies its white space on purpose.
func show(t *testing.T, m proto.Message) string {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The transcript has queues and tasks as they are stored and shown.
func TestShapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1_234_567_890 * time.Nanosecond) // create_time drops 0.234567, schedule_time keeps it
		e := start(t, nil, &recorder{script: []int{503, 503}})
		ctx := t.Context()
		var out strings.Builder
		record := func(what string, m proto.Message, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(what, err)
			}
			fmt.Fprintf(&out, "%s\n----\n%s\n\n", what, show(t, m))
		}

		record("a queue of defaults", e.queue(nil), nil)
		record("a slow queue for App Engine", e.queue(&cloudtaskspb.Queue{
			Name:                     location + "/queues/q2",
			RateLimits:               &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 0.1, MaxBurstSize: 400},
			AppEngineRoutingOverride: &cloudtaskspb.AppEngineRouting{Service: "s", Host: "ignored"},
			State:                    cloudtaskspb.Queue_DISABLED,
		}), nil)
		q, err := e.tasks.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: queue1})
		record("paused", q, err)
		q, err = e.tasks.PurgeQueue(ctx, &cloudtaskspb.PurgeQueueRequest{Name: queue1})
		record("purged", q, err)

		both := func(what string, task *cloudtaskspb.Task) {
			created := e.create(task)
			record(what+", as created", created, nil)
			full, err := e.tasks.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: created.Name, ResponseView: cloudtaskspb.Task_FULL})
			record(what+", full", full, err)
		}
		both("HTTP", &cloudtaskspb.Task{
			Name: queue1 + "/tasks/http",
			MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
				Url: target, Body: []byte("body"), Headers: map[string]string{"x-Own": "v", "USER-AGENT": "mine"},
			}},
			ScheduleTime:  &timestamppb.Timestamp{Seconds: 946684900, Nanos: 123456789},
			DispatchCount: 7, ResponseCount: 7, CreateTime: timestamppb.Now(),
		})
		both("App Engine", &cloudtaskspb.Task{
			Name: queue1 + "/tasks/app-engine",
			MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{
				Body: []byte("body"), Headers: map[string]string{"content-TYPE": "text/plain"},
			}},
			DispatchDeadline: durationpb.New(20*time.Second + 1500*time.Microsecond),
			RetryConfig:      &cloudtaskspb.RetryConfig{MaxAttempts: -1},
		})
		both("App Engine without a type", &cloudtaskspb.Task{
			Name: queue1 + "/tasks/app-engine-2",
			MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{
				RelativeUri: "/x", HttpMethod: cloudtaskspb.HttpMethod_PUT, Body: []byte("body"),
			}},
		})

		_, err = e.tasks.RunTask(ctx, &cloudtaskspb.RunTaskRequest{Name: queue1 + "/tasks/http"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		task, err := e.get("http")
		record("HTTP, after a failed attempt", task, err)
		golden(t, "shapes.txt", out.String())
	})
}

func TestAnUnnamedTaskGetsANumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		e.queue(nil)
		a, b := e.create(post("")), e.create(post(""))
		if a.Name == b.Name || strings.Trim(a.Name[len(queue1+"/tasks/"):], "0123456789") != "" {
			t.Errorf("names %q and %q", a.Name, b.Name)
		}
	})
}

func TestUpdateQueueMasks(t *testing.T) {
	full := func() *cloudtaskspb.Queue {
		return &cloudtaskspb.Queue{
			Name:       queue1,
			RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 7, MaxConcurrentDispatches: 8},
			RetryConfig: &cloudtaskspb.RetryConfig{
				MaxAttempts: 9, MinBackoff: durationpb.New(time.Second), MaxBackoff: durationpb.New(time.Minute),
				MaxDoublings: 3, MaxRetryDuration: durationpb.New(time.Hour),
			},
			StackdriverLoggingConfig: &cloudtaskspb.StackdriverLoggingConfig{SamplingRatio: 0.5},
		}
	}
	for _, tt := range []struct {
		name  string
		queue *cloudtaskspb.Queue
		mask  []string
		want  func(*cloudtaskspb.Queue) // changes what full() created
	}{
		{"one field", &cloudtaskspb.Queue{RateLimits: &cloudtaskspb.RateLimits{MaxConcurrentDispatches: 1}},
			[]string{"rate_limits.max_concurrent_dispatches"},
			func(q *cloudtaskspb.Queue) { q.RateLimits.MaxConcurrentDispatches = 1 }},
		{"a zero", &cloudtaskspb.Queue{}, []string{"retry_config.max_doublings"},
			func(q *cloudtaskspb.Queue) { q.RetryConfig.MaxDoublings = 0 }},
		{"zero backoff", &cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: new(durationpb.Duration)}},
			[]string{"retry_config.min_backoff"},
			func(q *cloudtaskspb.Queue) { q.RetryConfig.MinBackoff = new(durationpb.Duration) }},
		{"cleared to its default", &cloudtaskspb.Queue{}, []string{"retry_config.max_attempts", "stackdriver_logging_config"},
			func(q *cloudtaskspb.Queue) {
				q.RetryConfig.MaxAttempts = 100
				q.StackdriverLoggingConfig = nil
			}},
		{"output only and name", &cloudtaskspb.Queue{State: cloudtaskspb.Queue_PAUSED, PurgeTime: timestamppb.Now(), RateLimits: &cloudtaskspb.RateLimits{MaxBurstSize: 400}},
			[]string{"state", "purge_time", "name", "rate_limits.max_burst_size"}, func(*cloudtaskspb.Queue) {}},
		{"a whole part", &cloudtaskspb.Queue{RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 2}},
			[]string{"rate_limits"},
			func(q *cloudtaskspb.Queue) {
				q.RateLimits = &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 2, MaxBurstSize: 2, MaxConcurrentDispatches: 1000}
			}},
		{"no mask replaces all", &cloudtaskspb.Queue{RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 2}}, nil,
			func(q *cloudtaskspb.Queue) {
				q.RateLimits = &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 2, MaxBurstSize: 2, MaxConcurrentDispatches: 1000}
				q.RetryConfig = &cloudtaskspb.RetryConfig{MaxAttempts: 100, MinBackoff: durationpb.New(time.Second / 10), MaxBackoff: durationpb.New(time.Hour), MaxDoublings: 16}
				q.StackdriverLoggingConfig = nil
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := start(t, nil, nil)
				want := proto.CloneOf(e.queue(full()))
				tt.want(want)
				tt.queue.Name = queue1
				got, err := e.tasks.UpdateQueue(t.Context(), &cloudtaskspb.UpdateQueueRequest{Queue: tt.queue, UpdateMask: &fieldmaskpb.FieldMask{Paths: tt.mask}})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				stored, err := e.tasks.GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: queue1})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(got, stored, protocmp.Transform()); diff != "" {
					t.Errorf("stored differs from answered:\n%s", diff)
				}
			})
		})
	}
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := start(t, nil, nil)
			before := e.queue(full())
			for _, r := range []*cloudtaskspb.UpdateQueueRequest{
				{Queue: &cloudtaskspb.Queue{Name: queue1}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"colour"}}},
				{Queue: &cloudtaskspb.Queue{Name: queue1}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name.x"}}},
				{Queue: &cloudtaskspb.Queue{Name: queue1}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{""}}},
				{Queue: &cloudtaskspb.Queue{Name: "q"}},
				{},
				// Alone it is fine, but not with the min_backoff that stays.
				{Queue: &cloudtaskspb.Queue{Name: queue1, RetryConfig: &cloudtaskspb.RetryConfig{MaxBackoff: durationpb.New(time.Second / 2)}},
					UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"retry_config.max_backoff"}}},
			} {
				if _, err := e.tasks.UpdateQueue(t.Context(), r); err == nil {
					t.Errorf("no error for %v", r)
				}
			}
			after, err := e.tasks.GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: queue1})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after, protocmp.Transform()); diff != "" {
				t.Errorf("a refused update changed the queue:\n%s", diff)
			}
		})
	})
	t.Run("creates what is missing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := start(t, nil, nil)
			got, err := e.tasks.UpdateQueue(t.Context(), &cloudtaskspb.UpdateQueueRequest{
				Queue:      &cloudtaskspb.Queue{Name: queue1, RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 3}},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"retry_config.max_attempts"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got.RetryConfig.MaxAttempts != 3 || got.RetryConfig.MaxDoublings != 16 || got.State != cloudtaskspb.Queue_RUNNING {
				t.Errorf("got %v", got)
			}
		})
	})
}

func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		ctx := t.Context()
		e.queue(nil)
		later := timestamppb.New(time.Now().Add(time.Hour))
		want := map[string]bool{}
		for i := range 25 {
			task := post(fmt.Sprint("t", i))
			task.ScheduleTime = later
			want[e.create(task).Name] = true
		}
		got, token := map[string]bool{}, ""
		for page := 0; page == 0 || token != ""; page++ {
			it := e.tasks.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: queue1, PageSize: 10, PageToken: token})
			for range 10 {
				task, err := it.Next()
				if err != nil {
					break
				}
				if task.View != cloudtaskspb.Task_BASIC || task.GetHttpRequest().GetBody() != nil {
					t.Errorf("a listed task shows its body: %v", task)
				}
				got[task.Name] = true
			}
			token = it.PageInfo().Token
			if page > 3 {
				t.Fatal("pages without end")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}

		list := func(token, parent string) error {
			_, err := e.tasks.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: parent, PageSize: 10, PageToken: token}).Next()
			return err
		}
		it := e.tasks.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: queue1, PageSize: 10})
		if _, err := it.Next(); err != nil {
			t.Fatal(err)
		}
		token = it.PageInfo().Token
		e.queue(&cloudtaskspb.Queue{Name: location + "/queues/q2"})
		if err := list(token, location+"/queues/q2"); status.Code(err) != codes.InvalidArgument {
			t.Errorf("the token of one queue opens another: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if err := list(token, queue1); !errors.Is(err, iterator.Done) { // the tasks are done
			t.Errorf("after 2 h: %v", err)
		}
		time.Sleep(time.Second)
		if err := list(token, queue1); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after more than 2 h: %v", err)
		}

		queues := func(r *cloudtaskspb.ListQueuesRequest) (names []string) {
			r.Parent = location
			for q, err := range e.tasks.ListQueues(ctx, r).All() {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, q.Name[len(location+"/queues/"):])
			}
			return names
		}
		if _, err := e.tasks.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: queue1}); err != nil {
			t.Fatal(err)
		}
		for filter, want := range map[string][]string{
			"": {"q1", "q2"}, "state: PAUSED": {"q1"}, `state="RUNNING"`: {"q2"}, "state != PAUSED": {"q2"},
		} {
			if diff := cmp.Diff(want, queues(&cloudtaskspb.ListQueuesRequest{PageSize: 1, Filter: filter})); diff != "" {
				t.Errorf("filter %q: %s", filter, diff)
			}
		}
	})
}

// A page of queues stays below what gRPC clients take, however much queues say.
func TestPagesOfBigQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		const count = 60
		big := strings.Repeat("x", 79<<10)
		for i := range count {
			must[*cloudtaskspb.Queue](t)(e.tasks.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: &cloudtaskspb.Queue{
				Name: fmt.Sprintf("%s/queues/q%d", location, i),
				HttpTarget: &cloudtaskspb.HttpTarget{HeaderOverrides: []*cloudtaskspb.HttpTarget_HeaderOverride{
					{Header: &cloudtaskspb.HttpTarget_Header{Key: "X", Value: big}},
				}},
			}}))
		}
		queues, found := e.tasks.ListQueues(t.Context(), &cloudtaskspb.ListQueuesRequest{Parent: location}), map[string]bool{}
		for q, err := range queues.All() {
			if err != nil {
				t.Fatal(err)
			}
			found[q.GetName()] = true
			if page, ok := queues.Response.(proto.Message); !ok || proto.Size(page) > 4<<20 {
				t.Fatalf("a page of %T has %d bytes", queues.Response, proto.Size(page))
			}
		}
		if len(found) != count {
			t.Errorf("%d queues, want %d", len(found), count)
		}
	})
}

// Full tasks of a megabyte must fit into messages of 4 MB.
func TestPagesOfLargeTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, nil)
		e.queue(nil)
		if _, err := e.tasks.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: queue1}); err != nil {
			t.Fatal(err)
		}
		for range 7 {
			task := post("")
			task.GetHttpRequest().Body = make([]byte, 900<<10)
			e.create(task)
		}
		n := 0
		it := e.tasks.ListTasks(t.Context(), &cloudtaskspb.ListTasksRequest{Parent: queue1, ResponseView: cloudtaskspb.Task_FULL})
		for task, err := range it.All() {
			if err != nil {
				t.Fatal(err)
			}
			if size := proto.Size(it.Response.(*cloudtaskspb.ListTasksResponse)); size > 4<<20 {
				t.Fatalf("a page of %d bytes", size)
			}
			if len(task.GetHttpRequest().GetBody()) != 900<<10 {
				t.Error("a body is missing from the full view")
			}
			n++
		}
		if n != 7 {
			t.Errorf("%d tasks, want 7", n)
		}
	})
}

// TestUpdatesMayCreateAtOnce: of several updates of a missing queue one creates
// it, and the others update what it has created.
func TestUpdatesMayCreateAtOnce(t *testing.T) {
	e := start(t, nil, nil)
	for i := range 100 {
		q := &cloudtaskspb.Queue{Name: fmt.Sprintf("%s/queues/q%d", location, i)}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := e.tasks.UpdateQueue(t.Context(), &cloudtaskspb.UpdateQueueRequest{Queue: q}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, nil)
		ctx := t.Context()
		e.queue(nil)
		if _, err := e.tasks.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: queue1}); err != nil {
			t.Fatal(err)
		}
		one := func(task *cloudtaskspb.Task) *cloudtaskspb.CreateTaskRequest {
			return &cloudtaskspb.CreateTaskRequest{Parent: queue1, Task: task}
		}
		create := &cloudtaskspb.BatchCreateTasksRequest{
			Parent: queue1, RequestId: "once",
			Requests: []*cloudtaskspb.CreateTaskRequest{one(post("a")), one(post("a")), one(&cloudtaskspb.Task{}), one(post("b"))},
		}
		for range 2 { // the second is a retry of the first
			op, err := e.tasks.BatchCreateTasks(ctx, create)
			if err != nil {
				t.Fatal(err)
			}
			response, err := op.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(response.Tasks) != 2 || response.Tasks[0].Name != queue1+"/tasks/a" || response.Tasks[1].Name != queue1+"/tasks/b" {
				t.Errorf("created %v", response.Tasks)
			}
			meta, err := op.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			codes := map[int32]int32{}
			for i, s := range meta.FailedRequests {
				codes[i] = s.Code
			}
			if diff := cmp.Diff(map[int32]int32{1: 6, 2: 3}, codes); diff != "" {
				t.Errorf("codes of failed requests (-want +got):\n%s", diff)
			}
		}

		remove := func(names ...string) error {
			op, err := e.tasks.BatchDeleteTasks(ctx, &cloudtaskspb.BatchDeleteTasksRequest{Parent: queue1, Names: names})
			if err != nil {
				return err
			}
			return op.Wait(ctx)
		}
		if err := remove(queue1+"/tasks/a", queue1+"/tasks/missing"); err != nil {
			t.Error(err)
		}
		err := remove(queue1+"/tasks/a", location+"/queues/q2/tasks/x")
		if err == nil || !strings.Contains(err.Error(), "None of the requests succeeded, refer to BatchDeleteTasksMetadata.failed_requests for individual error details") {
			t.Errorf("nothing could be deleted: %v", err)
		}
		if err := remove(); err == nil {
			t.Error("an empty batch is taken")
		}
		if err := remove(make([]string, 1001)...); err == nil {
			t.Error("a batch of 1001 is taken")
		}
		if s := e.server.Stats(); s.Queues[0].Tasks != 1 {
			t.Errorf("%d tasks are left, want 1", s.Queues[0].Tasks)
		}
	})
}

func TestLargestTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const largest = 1_048_569 // serialized, as stored
		e := start(t, nil, nil)
		e.queue(nil)
		try := func(body int) (*cloudtaskspb.Task, error) {
			task := post("largest")
			task.ScheduleTime = timestamppb.New(time.Now().Add(time.Hour))
			task.GetHttpRequest().Body = make([]byte, body)
			return e.tasks.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{
				Parent: queue1, Task: task, ResponseView: cloudtaskspb.Task_FULL,
			})
		}
		small, err := try(900_000)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.tasks.DeleteTask(t.Context(), &cloudtaskspb.DeleteTaskRequest{Name: small.Name}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // the name is free again
		small.View = cloudtaskspb.Task_VIEW_UNSPECIFIED
		room := largest - proto.Size(small)
		if _, err := try(900_000 + room + 1); err == nil {
			t.Errorf("a task of %d bytes is taken", largest+1)
		}
		if _, err := try(900_000 + room); err != nil {
			t.Errorf("a task of %d bytes: %v", largest, err)
		}
	})
}
