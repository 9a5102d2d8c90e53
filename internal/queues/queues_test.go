package queues_test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	beta "cloud.google.com/go/cloudtasks/apiv2beta3"
	"cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/internal/queues"
)

// client is the real client of v2beta3, over the network of the test.
func client(t *testing.T, e *emulatortest.Env, opts ...grpc.DialOption) *beta.Client {
	t.Helper()
	all := []option.ClientOption{option.WithEndpoint("passthrough:///" + e.Suite.CloudTasksAddr()), option.WithoutAuthentication(), option.WithTelemetryDisabled()}
	for _, o := range append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		return e.Net.DialContext(ctx, "tcp", addr)
	})) {
		all = append(all, option.WithGRPCDialOption(o))
	}
	c, err := beta.NewClient(t.Context(), all...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func parse(t *testing.T, text string) *cloudtasks.QueueFile {
	t.Helper()
	f, err := cloudtasks.ParseQueueYAML([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func list(t *testing.T, c *beta.Client, parent string) []*cloudtaskspb.Queue {
	t.Helper()
	all, err := queues.List(t.Context(), c, parent)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func text(changes []queues.Change) string {
	var b strings.Builder
	queues.Write(&b, changes)
	return b.String()
}

// The editions of a file, each with what it changes after the one before.
var editions = []struct{ name, file, diff string }{
	{"new", `
queue:
- {name: mail, rate: 5/s, target: v2.worker, retry_parameters: {task_retry_limit: 3, max_doublings: 0}}
- {name: off, rate: 0}
- {name: pulled, mode: pull}
`, `+ mail: create
    rate_limits.max_burst_size: 5
    rate_limits.max_concurrent_dispatches: 1000
    app_engine_http_queue.app_engine_routing_override: v2.worker
    retry_config.max_attempts: 4
    retry_config.max_retry_duration: 0s
    retry_config.min_backoff: 100ms
    retry_config.max_backoff: 1h0m0s
    retry_config.max_doublings: 0
    rate_limits.max_dispatches_per_second: 5
+ off: create
    rate_limits.max_burst_size: 5
    rate_limits.max_concurrent_dispatches: 1000
    retry_config.max_attempts: -1
    retry_config.max_retry_duration: 0s
    retry_config.min_backoff: 100ms
    retry_config.max_backoff: 1h0m0s
    retry_config.max_doublings: 16
~ off: pause: its rate is 0
+ pulled: create
    retry_config.max_attempts: -1
`},
	{"changed", `
queue:
- {name: mail, rate: 90/m, bucket_size: 5}
- {name: off, rate: 1/h}
- {name: pulled, mode: pull, retry_parameters: {task_retry_limit: 0}}
`, `~ mail: update
    app_engine_http_queue.app_engine_routing_override: v2.worker -> none
    retry_config.max_attempts: 4 -> -1
    retry_config.max_doublings: 0 -> 16
    rate_limits.max_dispatches_per_second: 5 -> 1.5
~ off: update
    rate_limits.max_dispatches_per_second: 500 -> 0.000277778
~ off: resume: the file lists it, and it is paused (resume_paused_queues: False keeps it so)
~ pulled: update
    retry_config.max_attempts: -1 -> 1
`},
	{"paused", `
resume_paused_queues: False
queue:
- {name: mail, rate: 0, max_concurrent_requests: 7}
- {name: pulled, mode: pull}
`, `~ mail: pause: its rate is 0
~ mail: update
    rate_limits.max_concurrent_dispatches: 1000 -> 7
~ pulled: update
    retry_config.max_attempts: 1 -> -1
! off: omitted: the file leaves it out: ` + "`gcloud app deploy`" + ` of it would pause the queue
`},
	{"not resumed", `
resume_paused_queues: False
queue:
- {name: mail, rate: 90/m, max_concurrent_requests: 7}
`, `! pulled: omitted: the file leaves it out: ` + "`gcloud app deploy`" + ` of it would pause the queue
`},
}

// What Compare says is what Apply does, and there is nothing left to do then.
func TestCompareAndApply(t *testing.T) {
	e := emulatortest.Start(t, nil)
	e.CreateQueue("default", nil) // never paused for being left out
	c := client(t, e)
	for _, edition := range editions {
		file := parse(t, edition.file)
		changes := queues.Compare(file, list(t, c, e.Parent()))
		if diff := cmp.Diff(edition.diff, text(changes)); diff != "" {
			t.Errorf("%s: %s", edition.name, diff)
		}
		var done []queues.Change
		if err := queues.Apply(t.Context(), c, e.Parent(), changes, &queues.Options{PauseOmitted: true, Done: func(c queues.Change) { done = append(done, c) }}); err != nil {
			t.Fatalf("%s: %v", edition.name, err)
		}
		if len(done) != len(changes) {
			t.Errorf("%s: %d changes were made, want %d", edition.name, len(done), len(changes))
		}
		if left := queues.Compare(file, list(t, c, e.Parent())); len(left) > 0 {
			t.Errorf("%s: a second time there is\n%s", edition.name, text(left))
		}
	}
}

// A deploy and Apply leave the same queues behind: the emulator's own reading of an
// uploaded file and ours agree.
func TestApplyIsADeploy(t *testing.T) {
	deployed, applied := emulatortest.Start(t, nil), emulatortest.Start(t, nil)
	d, a := client(t, deployed), client(t, applied)
	for _, edition := range editions {
		url := "http://" + deployed.Suite.CloudTasksAddr() + "/api/queue/update?app_id=" + deployed.Project
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(edition.file))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := deployed.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: the upload: %s", edition.name, answer.Status)
		}
		changes := queues.Compare(parse(t, edition.file), list(t, a, applied.Parent()))
		if err := queues.Apply(t.Context(), a, applied.Parent(), changes, &queues.Options{PauseOmitted: true}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(list(t, d, deployed.Parent()), list(t, a, applied.Parent()), protocmp.Transform()); diff != "" {
			t.Errorf("%s: deployed and applied differ:\n%s", edition.name, diff)
		}
	}
}

// What the file leaves out is left alone, and what it doesn't decide, too.
func TestApplyIsTimid(t *testing.T) {
	e := emulatortest.Start(t, nil)
	e.CreateQueue("stranger", nil)
	e.CreateQueue("mail", nil)
	c := client(t, e)
	before := list(t, c, e.Parent())
	changes := queues.Compare(parse(t, "queue: [{name: mail, rate: 500/s, bucket_size: 100, retry_parameters: {task_retry_limit: 99}}]"), before)
	if err := queues.Apply(t.Context(), c, e.Parent(), changes, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, list(t, c, e.Parent()), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if len(changes) != 1 || changes[0].Action != queues.Omitted || changes[0].Queue != "stranger" {
		t.Errorf("changes:\n%s", text(changes))
	}
}

// A new rate doesn't bring a burst of the service's own.
func TestApplyKeepsTheBurst(t *testing.T) {
	e := emulatortest.Start(t, nil)
	c := client(t, e)
	for _, rate := range []string{"5/s", "50/s"} {
		file := parse(t, "queue: [{name: mail, bucket_size: 7, rate: "+rate+"}]")
		if err := queues.Apply(t.Context(), c, e.Parent(), queues.Compare(file, list(t, c, e.Parent())), nil); err != nil {
			t.Fatal(err)
		}
		if burst := list(t, c, e.Parent())[0].GetRateLimits().GetMaxBurstSize(); burst != 7 {
			t.Errorf("rate %s: burst %d, want 7", rate, burst)
		}
	}
}

// One queue that can't be changed doesn't keep the others; the error names it and
// says how to go on.
func TestErrors(t *testing.T) {
	const update = "/google.cloud.tasks.v2beta3.CloudTasks/UpdateQueue"
	for _, test := range []struct {
		name  string
		setup func(*testing.T, *emulatortest.Env, *fault.Script)
		want  []string
	}{
		{"tombstone", func(t *testing.T, e *emulatortest.Env, _ *fault.Script) {
			if err := client(t, e).DeleteQueue(t.Context(), &cloudtaskspb.DeleteQueueRequest{Name: e.CreateQueue("a", nil)}); err != nil {
				t.Fatal(err)
			}
		}, []string{"queue a: create (line 2): a queue of this name was deleted lately", "up to 3 days", "existed too recently"}},
		{"conflict", func(t *testing.T, e *emulatortest.Env, _ *fault.Script) {
			q := &cloudtaskspb.Queue{Name: e.QueueName("a"), Type: cloudtaskspb.Queue_PULL}
			if _, err := client(t, e).CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: e.Parent(), Queue: q}); err != nil {
				t.Fatal(err)
			}
		}, []string{"queue a (line 2): it is a pull queue and the file wants a push queue", "delete it"}},
		{"permission", func(_ *testing.T, _ *emulatortest.Env, s *fault.Script) {
			s.On(update, 1, fault.Fail(status.Error(codes.PermissionDenied, "no")))
		}, []string{"queue a: create (line 2)", "roles/cloudtasks.queueAdmin"}},
		{"lost answer", func(_ *testing.T, _ *emulatortest.Env, s *fault.Script) {
			s.On(update, 1, fault.Lose(status.Error(codes.Unavailable, "gone")))
		}, []string{"queue a: create (line 2): it may have been made or not", "latchwork queues diff"}},
		{"invalid", func(_ *testing.T, _ *emulatortest.Env, s *fault.Script) {
			s.On(update, 1, fault.Fail(status.Error(codes.InvalidArgument, "the rule")))
		}, []string{"queue a: create (line 2): ", "the rule"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := emulatortest.Start(t, nil)
			script := new(fault.Script)
			test.setup(t, e, script)
			c := client(t, e, grpc.WithUnaryInterceptor(script.Unary()))
			changes := queues.Compare(parse(t, "queue:\n- {name: a, rate: 0}\n- {name: b, rate: 1/s}"), list(t, c, e.Parent()))
			err := queues.Apply(t.Context(), c, e.Parent(), changes, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "pause") {
				t.Errorf("the queue that could not be made is paused all the same: %v", err)
			}
			if !slices.ContainsFunc(list(t, c, e.Parent()), func(q *cloudtaskspb.Queue) bool { return q.GetName() == e.QueueName("b") }) {
				t.Error("the queue b is not there")
			}
		})
	}
}

// A deploy brings queues back that were disabled; the file may say that it doesn't.
func TestDisabledQueuesAreResumed(t *testing.T) {
	have := []*cloudtaskspb.Queue{
		{Name: "projects/p/locations/l/queues/a", State: cloudtaskspb.Queue_DISABLED, Type: cloudtaskspb.Queue_PULL, RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: -1}},
		{Name: "projects/p/locations/l/queues/left", State: cloudtaskspb.Queue_DISABLED},
	}
	const want = "~ a: resume: the file lists it, and it is disabled (resume_paused_queues: False keeps it so)\n"
	if got := text(queues.Compare(parse(t, "queue: [{name: a, mode: pull}]"), have)); got != want {
		t.Errorf("changes:\n%swant\n%s", got, want)
	}
	if got := text(queues.Compare(parse(t, "resume_paused_queues: no\nqueue: [{name: a, mode: pull}]"), have)); got != "" {
		t.Errorf("changes:\n%swant none", got)
	}
}

// A list that fails says whose.
func TestListFails(t *testing.T) {
	e := emulatortest.Start(t, nil)
	script := new(fault.Script)
	script.On("/google.cloud.tasks.v2beta3.CloudTasks/ListQueues", 1, fault.Fail(status.Error(codes.PermissionDenied, "no")))
	_, err := queues.List(t.Context(), client(t, e, grpc.WithUnaryInterceptor(script.Unary())), e.Parent())
	if err == nil || !strings.Contains(err.Error(), "list the queues of "+e.Parent()) || status.Code(err) != codes.PermissionDenied {
		t.Errorf("error %v", err)
	}
}
