package tasks_test

import (
	"context"
	"errors"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

type email struct {
	To string `json:"to"`
}

var mail = tasks.NewClass("mail", &tasks.ClassOptions[email]{
	Queue: "mail", Timeout: 20 * time.Second, Backoff: tasks.Backoff{Min: 2 * time.Second, Max: time.Minute, Doublings: 4},
})

var shards = tasks.NewClass("shard", &tasks.ClassOptions[int]{
	Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(n int) string { return strings.Repeat("k", n) },
})

func httpOptions() *tasks.ClientOptions {
	return &tasks.ClientOptions{Project: "p", Location: "l", URL: "https://worker.example.com/base/", ServiceAccount: "sa@example.com", Audience: "aud"}
}

func newClient(t *testing.T, q tasks.Submitter, o *tasks.ClientOptions) *tasks.Client {
	t.Helper()
	c, err := tasks.NewClient(nil, q, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCreateTaskRequest(t *testing.T) {
	eta := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	retry := &cloudtaskspb.RetryConfig{
		MaxAttempts: -1, MaxRetryDuration: durationpb.New(0),
		MinBackoff: durationpb.New(2 * time.Second), MaxBackoff: durationpb.New(time.Minute), MaxDoublings: 4,
	}
	json := map[string]string{"Content-Type": "application/json"}
	tests := []struct {
		name string
		o    *tasks.ClientOptions
		want *cloudtaskspb.Task
	}{
		{"http with a token", httpOptions(), &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
			Url: "https://worker.example.com/base/_latchwork/tasks/mail", HttpMethod: cloudtaskspb.HttpMethod_POST, Headers: json,
			AuthorizationHeader: &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: "sa@example.com", Audience: "aud"}},
		}}}},
		{"http without", &tasks.ClientOptions{Project: "p", Location: "l", URL: "http://localhost:8080"}, &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
			Url: "http://localhost:8080/_latchwork/tasks/mail", HttpMethod: cloudtaskspb.HttpMethod_POST, Headers: json,
		}}}},
		{"appengine", &tasks.ClientOptions{Project: "p", Location: "l", Target: tasks.TargetAppEngine, Service: "worker"}, &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{
			RelativeUri: "/_latchwork/tasks/mail", HttpMethod: cloudtaskspb.HttpMethod_POST, Headers: json,
			AppEngineRouting: &cloudtaskspb.AppEngineRouting{Service: "worker"},
		}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q taskstest.Queue
			c := newClient(t, &q, tt.o)
			receipt, err := mail.Enqueue(t.Context(), c, email{"ada"}, &tasks.EnqueueOptions{ETA: eta})
			if err != nil {
				t.Fatal(err)
			}
			got := q.Tasks("")[0].Request
			tt.want.Name = "projects/p/locations/l/queues/mail/tasks/" + receipt.TaskName
			tt.want.ScheduleTime = timestamppb.New(eta)
			tt.want.DispatchDeadline = durationpb.New(35 * time.Second)
			tt.want.RetryConfig = retry
			want := &cloudtaskspb.CreateTaskRequest{Parent: "projects/p/locations/l/queues/mail", Task: tt.want}
			opts := cmp.Options{protocmp.Transform(), protocmp.IgnoreFields(&cloudtaskspb.HttpRequest{}, "body"), protocmp.IgnoreFields(&cloudtaskspb.AppEngineHttpRequest{}, "body")}
			if diff := cmp.Diff(want, got, opts); diff != "" {
				t.Errorf("CreateTaskRequest (-want +got):\n%s", diff)
			}
			e := q.Tasks("")[0].Envelope
			if e.ID != receipt.ID || string(e.Payload) != `{"to":"ada"}` || e.Timeout != 20*time.Second || !e.NotAfter.Equal(eta.Add(7*24*time.Hour)) {
				t.Errorf("envelope %+v of receipt %+v", e, receipt)
			}
		})
	}
}

func TestNewClientRefuses(t *testing.T) {
	edit := func(f func(*tasks.ClientOptions)) *tasks.ClientOptions { o := httpOptions(); f(o); return o }
	tests := []struct {
		name, rule string
		o          *tasks.ClientOptions
	}{
		{"nil", "Project", nil},
		{"project", "Project", edit(func(o *tasks.ClientOptions) { o.Project = "a/b" })},
		{"location", "Location", edit(func(o *tasks.ClientOptions) { o.Location = "" })},
		{"no URL", "URL", edit(func(o *tasks.ClientOptions) { o.URL = "" })},
		{"ftp", "URL", edit(func(o *tasks.ClientOptions) { o.URL = "ftp://x" })},
		{"query", "URL", edit(func(o *tasks.ClientOptions) { o.URL = "https://x/?a=b" })},
		{"user", "URL", edit(func(o *tasks.ClientOptions) { o.URL = "https://u:p@x" })},
		{"audience alone", "Audience", edit(func(o *tasks.ClientOptions) { o.ServiceAccount = "" })},
		{"account alone", "Audience", edit(func(o *tasks.ClientOptions) { o.Audience = "" })},
		{"target", "Target", edit(func(o *tasks.ClientOptions) { o.Target = "ftp" })},
		{"app engine with URL", "TargetHTTP only", edit(func(o *tasks.ClientOptions) { o.Target = tasks.TargetAppEngine })},
		{"namespace", "Namespace", edit(func(o *tasks.ClientOptions) { o.Namespace = "a b" })},
		{"wait", "SubmitWait", edit(func(o *tasks.ClientOptions) { o.SubmitWait = -1 })},
	}
	for _, tt := range tests {
		if _, err := tasks.NewClient(nil, &taskstest.Queue{}, tt.o); err == nil || !strings.Contains(err.Error(), tt.rule) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.rule)
		}
	}
	if _, err := tasks.NewClient(nil, nil, httpOptions()); err == nil {
		t.Error("a client without Submitter was made")
	}
}

func TestEnqueueRefuses(t *testing.T) {
	var q taskstest.Queue
	c := newClient(t, &q, httpOptions())
	tests := []struct {
		name, rule string
		err        func() error
	}{
		{"ETA and Delay", "cannot be combined", func() error {
			_, err := mail.Enqueue(t.Context(), c, email{}, &tasks.EnqueueOptions{ETA: time.Now(), Delay: 1})
			return err
		}},
		{"negative delay", "negative", func() error {
			_, err := mail.Enqueue(t.Context(), c, email{}, &tasks.EnqueueOptions{Delay: -1})
			return err
		}},
		{"ETA in year 10000", "8999", func() error {
			_, err := mail.Enqueue(t.Context(), c, email{}, &tasks.EnqueueOptions{ETA: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
			return err
		}},
		{"long name", "1,500", func() error {
			_, err := mail.Enqueue(t.Context(), c, email{}, &tasks.EnqueueOptions{Name: strings.Repeat("n", 1501)})
			return err
		}},
		{"named shard", "coalescing", func() error {
			_, err := shards.Enqueue(t.Context(), c, 1, &tasks.EnqueueOptions{Name: "n"})
			return err
		}},
		{"timeout beyond the queue's", "29m45s", func() error {
			_, err := tasks.NewClass("slow", &tasks.ClassOptions[int]{Timeout: 30 * time.Minute}).Enqueue(t.Context(), c, 1, nil)
			return err
		}},
		{"payload that is no JSON", "JSON", func() error {
			_, err := tasks.NewClass[any]("chan", nil).Enqueue(t.Context(), c, make(chan int), nil)
			return err
		}},
		{"payload too large", "at most 921600 bytes", func() error {
			_, err := mail.Enqueue(t.Context(), c, email{strings.Repeat("x", 1<<20)}, nil)
			return err
		}},
		{"nil client", "NewClient", func() error { _, err := mail.Enqueue(t.Context(), nil, email{}, nil); return err }},
		{"nil transaction", "RunInTransaction", func() error { _, err := mail.EnqueueTx(nil, email{}, nil); return err }},
		{"JSON of another shape", "must decode", func() error {
			_, err := mail.Handle(func(context.Context, email) error { return nil }).Enqueue(t.Context(), c, []byte(`[1]`), nil)
			return err
		}},
	}
	for _, tt := range tests {
		if err := tt.err(); err == nil || !strings.Contains(err.Error(), tt.rule) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.rule)
		}
	}
	if n := len(q.Tasks("")); n != 0 {
		t.Errorf("%d tasks were created", n)
	}
}

func TestNamesDeduplicate(t *testing.T) {
	var q taskstest.Queue
	c := newClient(t, &q, httpOptions())
	name := &tasks.EnqueueOptions{Name: "order 7 / Ünïcode"}
	first, err := mail.Enqueue(t.Context(), c, email{"a"}, name)
	if err != nil || first.Duplicate || first.ID == "" {
		t.Fatalf("first: %+v, %v", first, err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(first.TaskName) {
		t.Errorf("the task is named %q: must be a hash", first.TaskName)
	}
	second, err := mail.Enqueue(t.Context(), c, email{"b"}, name)
	if want := (tasks.Receipt{TaskName: first.TaskName, Duplicate: true}); err != nil || second != want {
		t.Errorf("second: %+v, %v; want %+v", second, err, want)
	}
	other := tasks.NewClass("other", &tasks.ClassOptions[email]{Queue: "mail"})
	if r, err := other.Enqueue(t.Context(), c, email{"c"}, name); err != nil || r.Duplicate {
		t.Errorf("the same name in another class: %+v, %v", r, err)
	}
	o := httpOptions()
	o.Namespace = "ns1"
	if r, err := mail.Enqueue(t.Context(), newClient(t, &q, o), email{"d"}, name); err != nil || r.Duplicate {
		t.Errorf("the same name in another namespace: %+v, %v", r, err)
	}
	// Unnamed tasks are all different.
	a, _ := mail.Enqueue(t.Context(), c, email{"a"}, nil)
	b, _ := mail.Enqueue(t.Context(), c, email{"a"}, nil)
	if a.ID == b.ID || a.TaskName == b.TaskName {
		t.Errorf("two unnamed tasks: %+v, %+v", a, b)
	}
}

// An answer that was lost and repeated is not a duplicate of an unnamed task:
// its name proves that it is this one.
func TestEnqueueUnnamedAlreadyExists(t *testing.T) {
	q := taskstest.Queue{Refuse: func(*cloudtaskspb.CreateTaskRequest) error {
		return status.Error(codes.AlreadyExists, "The task cannot be created because a task with this name existed too recently.")
	}}
	r, err := mail.Enqueue(t.Context(), newClient(t, &q, httpOptions()), email{"a"}, nil)
	if err != nil || r.Duplicate || r.ID == "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestEnqueueReportsTheQueue(t *testing.T) {
	q := taskstest.Queue{Refuse: func(*cloudtaskspb.CreateTaskRequest) error {
		return status.Error(codes.NotFound, "Queue does not exist.")
	}}
	_, err := mail.Enqueue(t.Context(), newClient(t, &q, httpOptions()), email{"a"}, nil)
	if status.Code(errors.Unwrap(err)) != codes.NotFound || !strings.Contains(err.Error(), "queue mail") {
		t.Errorf("error %v", err)
	}
}

func TestCoalescingTasksShareTheirSlot(t *testing.T) {
	var q taskstest.Queue
	c := newClient(t, &q, httpOptions())
	at := time.Now().Add(time.Hour)
	first, err := shards.Enqueue(t.Context(), c, 1, &tasks.EnqueueOptions{ETA: at})
	if err != nil || first.Duplicate {
		t.Fatal(first, err)
	}
	if r, err := shards.Enqueue(t.Context(), c, 1, &tasks.EnqueueOptions{ETA: at}); err != nil || !r.Duplicate {
		t.Errorf("same key, same slot: %+v, %v", r, err)
	}
	if r, err := shards.Enqueue(t.Context(), c, 2, &tasks.EnqueueOptions{ETA: at}); err != nil || r.Duplicate {
		t.Errorf("another key: %+v, %v", r, err)
	}
	if r, err := shards.Enqueue(t.Context(), c, 1, &tasks.EnqueueOptions{ETA: at.Add(4 * time.Second)}); err != nil || r.Duplicate {
		t.Errorf("another slot: %+v, %v", r, err)
	}
	if got, want := q.Tasks("shard")[0].Due, tasks.SlotAt(at, 4*time.Second); !got.Equal(want) {
		t.Errorf("due %v, want %v", got, want)
	}
}

func TestTraceTravels(t *testing.T) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	var q taskstest.Queue
	if _, err := mail.Enqueue(trace.ContextWithSpanContext(t.Context(), sc), newClient(t, &q, httpOptions()), email{"a"}, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := q.Tasks("")[0].Envelope.TraceParent, "00-01000000000000000000000000000000-0200000000000000-01"; got != want {
		t.Errorf("traceparent %q, want %q", got, want)
	}
}

func TestEnqueueOnlyClient(t *testing.T) {
	c := newClient(t, &taskstest.Queue{}, httpOptions())
	err := c.RunInTransaction(t.Context(), func(*tasks.Tx) error { t.Error("ran"); return nil })
	if err == nil || !strings.Contains(err.Error(), "no Datastore") {
		t.Errorf("error %v", err)
	}
}

func TestPayloads(t *testing.T) {
	var q taskstest.Queue
	c := newClient(t, &q, httpOptions())
	for _, to := range []string{"a", "b"} {
		if _, err := mail.Enqueue(t.Context(), c, email{to}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]email{{"a"}, {"b"}}, taskstest.Payloads(t, &q, mail)); diff != "" {
		t.Errorf("payloads (-want +got):\n%s", diff)
	}
	if got := path.Base(q.Tasks("mail")[0].Request.GetParent()); got != "mail" {
		t.Errorf("queue %q", got)
	}
}
