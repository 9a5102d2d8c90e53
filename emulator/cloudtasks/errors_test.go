package cloudtasks_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

// The transcript has the exact codes and texts of every refusal.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{})
		ctx := t.Context()
		var out strings.Builder
		record := func(what string, err error) {
			s := status.Convert(err)
			fmt.Fprintf(&out, "%s\n----\n%v", what, s.Code())
			if err != nil {
				fmt.Fprintf(&out, ": %s", s.Message())
			}
			for _, detail := range s.Details() {
				fmt.Fprintf(&out, "\nwith %T", detail)
			}
			out.WriteString("\n\n")
		}

		createQueue := func(q *cloudtaskspb.Queue) error {
			_, err := e.tasks.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: q})
			return err
		}
		queueID := 0
		queueWith := func(what string, q *cloudtaskspb.Queue) {
			queueID++
			q.Name = fmt.Sprintf("%s/queues/with-%d", location, queueID)
			record("CreateQueue "+what, createQueue(q))
		}
		limits := func(rate float64, concurrent, burst int32) *cloudtaskspb.Queue {
			return &cloudtaskspb.Queue{RateLimits: &cloudtaskspb.RateLimits{
				MaxDispatchesPerSecond: rate, MaxConcurrentDispatches: concurrent, MaxBurstSize: burst,
			}}
		}
		retry := func(r *cloudtaskspb.RetryConfig) *cloudtaskspb.Queue { return &cloudtaskspb.Queue{RetryConfig: r} }
		second := durationpb.New(time.Second)

		record("CreateQueue", createQueue(&cloudtaskspb.Queue{Name: queue1}))
		record("CreateQueue that exists", createQueue(&cloudtaskspb.Queue{Name: queue1}))
		for _, name := range []string{"", "q", queue1 + "_", location + "/queues/" + strings.Repeat("q", 101), queue1 + "/tasks/a"} {
			record(fmt.Sprintf("CreateQueue %.60q", name), createQueue(&cloudtaskspb.Queue{Name: name}))
		}
		record("CreateQueue under another parent", createQueue(&cloudtaskspb.Queue{Name: "projects/p/locations/other/queues/q"}))
		record("CreateQueue of nothing", createQueue(nil))
		_, err := e.tasks.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{Parent: "p", Queue: &cloudtaskspb.Queue{Name: queue1}})
		record("CreateQueue with a malformed parent", err)
		queueWith("rate -1", limits(-1, 0, 0))
		queueWith("rate 500.1", limits(500.1, 0, 0))
		queueWith("rate NaN", limits(math.NaN(), 0, 0))
		queueWith("rate 500", limits(500, 0, 0))
		queueWith("concurrency -1", limits(0, -1, 0))
		queueWith("concurrency 5001", limits(0, 5001, 0))
		queueWith("burst -1", limits(0, 0, -1))
		queueWith("attempts -2", retry(&cloudtaskspb.RetryConfig{MaxAttempts: -2}))
		queueWith("attempts -1", retry(&cloudtaskspb.RetryConfig{MaxAttempts: -1}))
		queueWith("doublings -1", retry(&cloudtaskspb.RetryConfig{MaxDoublings: -1}))
		queueWith("min backoff -1s", retry(&cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(-time.Second)}))
		queueWith("min backoff over max backoff", retry(&cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(2 * time.Second), MaxBackoff: second}))
		queueWith("a broken duration", retry(&cloudtaskspb.RetryConfig{MaxBackoff: &durationpb.Duration{Seconds: 1, Nanos: -1}}))
		queueWith("a routing that is no host", &cloudtaskspb.Queue{AppEngineRoutingOverride: &cloudtaskspb.AppEngineRouting{Service: "a.b/c"}})
		queueWith("http_target", &cloudtaskspb.Queue{HttpTarget: &cloudtaskspb.HttpTarget{}})

		missing := location + "/queues/missing"
		_, err = e.tasks.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: missing})
		record("GetQueue that is missing", err)
		_, err = e.tasks.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: "x"})
		record("GetQueue with a malformed name", err)
		_, err = e.tasks.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: missing})
		record("PauseQueue that is missing", err)
		_, err = e.tasks.ResumeQueue(ctx, &cloudtaskspb.ResumeQueueRequest{Name: missing})
		record("ResumeQueue that is missing", err)
		_, err = e.tasks.PurgeQueue(ctx, &cloudtaskspb.PurgeQueueRequest{Name: missing})
		record("PurgeQueue that is missing", err)
		record("DeleteQueue that is missing", e.tasks.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: missing}))

		createTask := func(what string, task *cloudtaskspb.Task) {
			_, err := e.tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: queue1, Task: task})
			record("CreateTask "+what, err)
		}
		later := func(id string) *cloudtaskspb.Task {
			task := post(id)
			task.ScheduleTime = timestamppb.New(time.Now().Add(time.Hour))
			return task
		}
		_, err = e.tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: missing, Task: post("")})
		record("CreateTask on a missing queue", err)
		_, err = e.tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: "x", Task: post("")})
		record("CreateTask with a malformed parent", err)
		createTask("of nothing", nil)
		createTask("without a target", &cloudtaskspb.Task{})
		createTask("named", later("a"))
		createTask("with a live name", later("a"))
		createTask(`"x y"`, later("x y"))
		createTask("with an id of 501", later(strings.Repeat("i", 501)))
		createTask("with an id of 500", later(strings.Repeat("i", 500)))
		createTask("with a malformed name", &cloudtaskspb.Task{Name: "x", MessageType: post("").MessageType})
		createTask("of another queue", &cloudtaskspb.Task{Name: missing + "/tasks/a", MessageType: post("").MessageType})

		http := func(what string, r *cloudtaskspb.HttpRequest) {
			createTask(what, &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: r}})
		}
		http("without a URL", &cloudtaskspb.HttpRequest{})
		http("to ftp", &cloudtaskspb.HttpRequest{Url: "ftp://example.com"})
		http("to http://example.com/%zz", &cloudtaskspb.HttpRequest{Url: "http://example.com/%zz"})
		http("with a URL of 2084", &cloudtaskspb.HttpRequest{Url: "http://" + strings.Repeat("u", 2077)})
		http("with a body for GET", &cloudtaskspb.HttpRequest{Url: target, HttpMethod: cloudtaskspb.HttpMethod_GET, Body: []byte("b")})
		http("with method 99", &cloudtaskspb.HttpRequest{Url: target, HttpMethod: 99})
		http("with a header name that can't be sent", &cloudtaskspb.HttpRequest{Url: target, Headers: map[string]string{"a b": "c"}})
		http("with a header value that can't be sent", &cloudtaskspb.HttpRequest{Url: target, Headers: map[string]string{"a": "b\r\nc: d"}})
		http("with headers of 80 KB", &cloudtaskspb.HttpRequest{Url: target, Headers: map[string]string{"a": strings.Repeat("v", 80<<10)}})
		http("with an OIDC token of nobody", &cloudtaskspb.HttpRequest{Url: target, AuthorizationHeader: &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{}}})
		http("that is too big", &cloudtaskspb.HttpRequest{Url: target, Body: make([]byte, 1<<20)})

		appEngine := func(what string, r *cloudtaskspb.AppEngineHttpRequest) {
			createTask("for App Engine "+what, &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: r}})
		}
		appEngine("without a slash", &cloudtaskspb.AppEngineHttpRequest{RelativeUri: "work"})
		appEngine("with a space", &cloudtaskspb.AppEngineHttpRequest{RelativeUri: "/a b"})
		appEngine("with a body for PATCH", &cloudtaskspb.AppEngineHttpRequest{HttpMethod: cloudtaskspb.HttpMethod_PATCH, Body: []byte("b")})

		deadline := func(what string, task *cloudtaskspb.Task, d time.Duration) {
			task.DispatchDeadline = durationpb.New(d)
			createTask(what+" with a deadline of "+d.String(), task)
		}
		appTask := func() *cloudtaskspb.Task {
			return &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: new(cloudtaskspb.AppEngineHttpRequest)}}
		}
		deadline("HTTP", later(""), 15*time.Second-time.Millisecond)
		deadline("HTTP", later(""), 15*time.Second)
		deadline("HTTP", later(""), 30*time.Minute)
		deadline("HTTP", later(""), 30*time.Minute+time.Millisecond)
		deadline("App Engine", appTask(), 24*time.Hour+15*time.Second)
		deadline("App Engine", appTask(), 24*time.Hour+16*time.Second)

		far := post("")
		far.ScheduleTime = timestamppb.New(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
		createTask("over 30 days ahead", far)
		broken := post("")
		broken.ScheduleTime = &timestamppb.Timestamp{Seconds: 1 << 60}
		createTask("at no time", broken)
		stubborn := post("")
		stubborn.RetryConfig = &cloudtaskspb.RetryConfig{MaxAttempts: -2}
		createTask("with attempts -2", stubborn)

		_, err = e.get("never")
		record("GetTask that never existed", err)
		_, err = e.tasks.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: missing + "/tasks/a"})
		record("GetTask of a missing queue", err)
		_, err = e.tasks.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: "x"})
		record("GetTask with a malformed name", err)
		deleteTask := func(id string) error {
			return e.tasks.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: queue1 + "/tasks/" + id})
		}
		record("DeleteTask that never existed", deleteTask("never"))
		_, err = e.tasks.RunTask(ctx, &cloudtaskspb.RunTaskRequest{Name: queue1 + "/tasks/never"})
		record("RunTask that never existed", err)
		record("DeleteTask", deleteTask("a"))
		record("DeleteTask that was deleted", deleteTask("a"))
		_, err = e.get("a")
		record("GetTask that was deleted", err)
		_, err = e.tasks.RunTask(ctx, &cloudtaskspb.RunTaskRequest{Name: queue1 + "/tasks/a"})
		record("RunTask that was deleted", err)
		createTask("with the name of a deleted one", later("a"))
		createTask("done", post("done"))
		synctest.Wait()
		_, err = e.get("done")
		record("GetTask that is done", err)
		createTask("with the name of one that is done", later("done"))

		listTasks := func(r *cloudtaskspb.ListTasksRequest) error {
			r.Parent = queue1
			it := e.tasks.ListTasks(ctx, r)
			_, err := it.Next()
			return err
		}
		record("ListTasks with a view of 9", listTasks(&cloudtaskspb.ListTasksRequest{ResponseView: 9}))
		record("ListTasks with a page of -1", listTasks(&cloudtaskspb.ListTasksRequest{PageSize: -1}))
		record("ListTasks with a made-up token", listTasks(&cloudtaskspb.ListTasksRequest{PageToken: "bWFkZSB1cA"}))
		_, err = e.tasks.ListQueues(ctx, &cloudtaskspb.ListQueuesRequest{Parent: location, Filter: "name: x"}).Next()
		record("ListQueues by name", err)

		record("DeleteQueue", e.tasks.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: queue1}))
		_, err = e.tasks.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: queue1})
		record("GetQueue that was deleted", err)
		record("DeleteQueue that was deleted", e.tasks.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: queue1}))
		createTask("on a deleted queue", post(""))
		record("CreateQueue that was deleted", createQueue(&cloudtaskspb.Queue{Name: queue1}))

		golden(t, "errors.txt", out.String())
	})
}

// Whatever a request holds, the refusal is one that gets through to the client,
// and quotes the request's texts in part.
func TestErrorsQuoteLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, nil)
		e.queue(nil)
		ctx := t.Context()
		long := strings.Repeat("é ", 20_000)
		create := func(parent string, task *cloudtaskspb.Task) error {
			_, err := e.tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: parent, Task: task})
			return err
		}
		headers := func(h map[string]string) error {
			task := post("")
			task.GetHttpRequest().Headers = h
			return create(queue1, task)
		}
		appEngine := &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{
			AppEngineRouting: &cloudtaskspb.AppEngineRouting{Service: long}}}}
		_, updated := e.tasks.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{
			Queue: &cloudtaskspb.Queue{Name: queue1}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{long}}})
		_, listed := e.tasks.ListQueues(ctx, &cloudtaskspb.ListQueuesRequest{Parent: location, Filter: long}).Next()
		_, batched := e.tasks.BatchCreateTasks(ctx, &cloudtaskspb.BatchCreateTasksRequest{
			Parent: queue1, Requests: []*cloudtaskspb.CreateTaskRequest{{Parent: long}}})
		for what, err := range map[string]error{
			"header name":  headers(map[string]string{strings.Repeat("é", 5<<19): "v"}),
			"header value": headers(map[string]string{strings.Repeat("n", 60_000): "\x00"}),
			"headers":      headers(map[string]string{"n": strings.Repeat("v", 1<<20)}),
			"queue name":   create(location+"/queues/"+strings.Repeat("q", 1<<20), post("")),
			"task name":    create(queue1, post(long)),
			"routing":      create(queue1, appEngine),
			"update mask":  updated,
			"filter":       listed,
			"batch":        batched,
		} {
			s := status.Convert(err)
			if s.Code() != codes.InvalidArgument || len(s.Message()) > 800 {
				t.Errorf("a huge %s: %v with %d bytes: %.300s", what, s.Code(), len(s.Message()), s.Message())
			}
		}
	})
}
