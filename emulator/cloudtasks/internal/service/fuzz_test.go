package service

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/identity"
)

func FuzzNames(f *testing.F) {
	for _, s := range []string{
		"", "projects/p/locations/l/queues/q", "projects/p:q.r/locations/l/queues/q/tasks/t_1-A",
		"projects/p/locations/l/queues/q/tasks/", "projects//locations//queues//tasks/", "projects/p/locations/l/queues/q/tasks/a/b",
		"/queues/", "projects/é/locations/l/queues/q",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if validQueue(s) {
			project, location, id := splitQueue(s)
			if rebuilt := "projects/" + project + "/locations/" + location + "/queues/" + id; rebuilt != s || len(id) > maxQueueID {
				t.Errorf("%q is taken for a queue and splits into %q", s, rebuilt)
			}
			if strings.Count(s, "/") != 5 {
				t.Errorf("%q is taken for a queue", s)
			}
		}
		queue, id, err := parseTask(s)
		if err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if queue+"/tasks/"+id != s || !validQueue(queue) || strings.Contains(id, "/") {
			t.Errorf("%q splits into %q and %q", s, queue, id)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	tasks := list{"tasks of q", time.Now()}
	f.Add(tasks.token("last"))
	f.Add(list{"another", time.Now()}.token("last"))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		after, err := tasks.open(token)
		if err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Error(err)
			}
			return
		}
		if token == "" && after != "" {
			t.Errorf("no token opens after %q", after)
		}
		again, err := tasks.open(tasks.token(after))
		if err != nil || again != after {
			t.Errorf("%q comes back as %q: %v", after, again, err)
		}
	})
}

// refused is a target that answers at once.
type refused struct{}

func (refused) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, http.ErrServerClosed
}

// FuzzTask takes tasks from the wire through normalization, storage and
// dispatch: each is refused as INVALID_ARGUMENT, or can be stored, read back
// and dispatched.
func FuzzTask(f *testing.F) {
	for _, task := range []*cloudtaskspb.Task{
		{}, {MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
			Url: "http://example.com/%zz", Headers: map[string]string{"Host": "x", "a": "b"}, Body: []byte("b"),
			AuthorizationHeader: &cloudtaskspb.HttpRequest_OauthToken{OauthToken: &cloudtaskspb.OAuthToken{ServiceAccountEmail: "a@b"}},
		}}},
		{MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{
			RelativeUri: "/x?y#z", AppEngineRouting: &cloudtaskspb.AppEngineRouting{Service: "s"}, Headers: map[string]string{"user-agent": "u"},
		}}, RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: -1}},
	} {
		b, err := proto.Marshal(task)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	const queue = "projects/p/locations/l/queues/q"
	d := &dispatch.Dispatcher{Transport: refused{}, Tokens: identity.New(""), AppEngine: map[string]string{"": "127.0.0.1:1"}, Logger: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, b []byte) {
		task := new(cloudtaskspb.Task)
		if proto.Unmarshal(b, task) != nil {
			return
		}
		whole := &Task{Task: task}
		err := whole.normalize(queue, time.Now())
		var spec []byte
		if err == nil {
			spec, err = whole.spec(queue)
		}
		if err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("%v: %v", task, err)
			}
			return
		}
		if retry := taskRetry(task.GetRetryConfig()); retry != nil {
			if delay := retry.Backoff(1); delay < 0 || delay > retry.MaxBackoff {
				t.Errorf("%v: a delay of %v", task, delay)
			}
		}
		if _, err := loadTask(engine.Task{Queue: queue, ID: "a", Spec: spec}, Full); err != nil {
			t.Error(err)
		}
		if task.GetHttpRequest().GetOidcToken() != nil {
			return // signing is slow
		}
		queueMessage := &cloudtaskspb.Queue{Name: queue}
		queueSpec, err := proto.Marshal(queueMessage)
		if err != nil {
			t.Fatal(err)
		}
		result := d.Deliver(t.Context(), &engine.Delivery{Queue: queue, QueueSpec: queueSpec, ID: "a", Spec: spec, Attempt: 1})
		if result.Done || result.Responded || len(result.Message) > 1024 {
			t.Errorf("%+v", result)
		}
	})
}
