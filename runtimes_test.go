package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"go.yaml.in/yaml/v4"

	"github.com/latchwork/latchwork/emulator"
	emulatedtasks "github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/internal/rehearsal"
	"github.com/latchwork/latchwork/tasks"
)

// A stage is Google Cloud as a worker finds it where it is deployed: nothing in the
// worker's environment names an emulator.
type stage struct {
	suite  *emulator.Suite
	google *rehearsal.Cloud
	port   string // that the worker gets
	values map[string]string
	app    *messages.App
	ledger *datastore.Client
}

// setStage starts Google's end, with the queues of queue.yaml, and the example as a
// client of it that sends tasks to target.
func setStage(t *testing.T, target string) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: the worker as a process, as it is deployed, takes some seconds; run without -short")
	}
	_, port, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	const host = "latchwork-123456789012.europe-west1.run.app"
	s := &stage{port: port, values: map[string]string{
		"GOOGLE_CLOUD_PROJECT": "my-project", "CLOUD_TASKS_LOCATION": "europe-west1", "MEMCACHE_ADDRS": "",
		"WORKER_URL": "https://" + host, "TASKS_ACCOUNT": "latchwork-tasks@my-project.iam.gserviceaccount.com", "LATCHWORK_AUTH": "oidc",
	}}
	s.suite, err = emulator.Start(t.Context(), &emulator.Options{
		AllowHosts: []string{rehearsal.KeysHost},
		CloudTasks: &emulatedtasks.Options{
			AppEngine: map[string]string{"default": "127.0.0.1:" + port},
			Transport: rehearsal.FrontEnd(host, "127.0.0.1:"+port),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.suite.Close(); err != nil {
			t.Error(err)
		}
	})
	s.google, err = rehearsal.Start(rehearsal.Options{Project: "my-project", CloudTasks: s.suite.CloudTasksAddr(), Datastore: s.suite.DatastoreAddr(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.google.Close(); err != nil {
			t.Error(err)
		}
	})

	queue, err := cloudtasks.NewClient(t.Context(), tasks.EmulatorOptions(s.suite.CloudTasksAddr())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queue.Close() })
	const parent = "projects/my-project/locations/europe-west1"
	if _, err := queue.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: parent + "/queues/default"}}); err != nil {
		t.Fatal(err)
	}
	if s.ledger, err = datastore.NewClient(t.Context(), "my-project", tasks.EmulatorOptions(s.suite.DatastoreAddr())...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.ledger.Close() })
	o := &tasks.ClientOptions{Project: "my-project", Location: "europe-west1", Target: target}
	if target == tasks.TargetHTTP {
		o.URL, o.ServiceAccount, o.Audience = s.values["WORKER_URL"], s.values["TASKS_ACCOUNT"], s.values["WORKER_URL"]
	}
	client, err := tasks.NewClient(s.ledger, queue, o)
	if err != nil {
		t.Fatal(err)
	}
	if s.app, err = messages.New(&messages.Options{Client: client, Slot: time.Second, Timeout: time.Minute, Reminder: time.Second}); err != nil {
		t.Fatal(err)
	}
	return s
}

// filled is a value of one of the deploy's files, with ${…} filled in.
func (s *stage) filled(t *testing.T, value string) string {
	t.Helper()
	return os.Expand(value, func(name string) string {
		v, ok := s.values[name]
		if !ok {
			t.Errorf("the file's environment has ${%s}, which this test doesn't know", name)
		}
		return v
	})
}

// run starts the worker with a runtime's own variables and those of its file.
func (s *stage) run(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	env = append(env, "PORT="+s.port, "LATCHWORK_TIMEOUT=1m", "LATCHWORK_REMINDER=1s")
	p := start(t, append(env, s.google.Env()...), args...)
	p.expect(t, "latchwork: worker")
	return p
}

// send sends a message to users, of whom some are unknown.
func (s *stage) send(t *testing.T, recipients, unknown int) (message string) {
	t.Helper()
	var known, to []string
	for i := range recipients {
		name := fmt.Sprintf("user-%03d", i)
		to = append(to, name)
		if i >= unknown {
			known = append(known, name)
		}
	}
	err := s.app.AddUsers(t.Context(), append(known, "sender")...)
	if err == nil {
		message, err = s.app.Send(t.Context(), "sender", to, "as deployed")
	}
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func (s *stage) until(t *testing.T, message, what string, done func(messages.Books) bool) messages.Books {
	t.Helper()
	return new(world).until(t, s.app, message, what, done)
}

func (s *stage) answer(t *testing.T, method, path string, headers http.Header) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+s.port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = headers
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// The environment and the arguments of service.yaml are all that an instance of
// Cloud Run needs: it answers the startup probe, checks the tokens of tasks against
// Google's keys, ends by itself when SIGTERM comes in the middle of the work, and
// the next instance finishes it. The locks are kept in Datastore, as by default.
func TestCloudRunInstance(t *testing.T) {
	s := setStage(t, tasks.TargetHTTP)
	var service struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Args  []string
						Env   []struct{ Name, Value string }
						Probe struct {
							HTTPGet struct{ Path string } `yaml:"httpGet"`
						} `yaml:"startupProbe"`
					}
				}
			}
		}
	}
	decode(t, "service.yaml", &service)
	container := service.Spec.Template.Spec.Containers[0]
	env := []string{"K_SERVICE=latchwork", "K_REVISION=latchwork-00001-abc", "K_CONFIGURATION=latchwork"}
	for _, e := range container.Env {
		env = append(env, e.Name+"="+s.filled(t, e.Value))
	}

	first := s.run(t, env, container.Args...)
	if code := s.answer(t, http.MethodGet, container.Probe.HTTPGet.Path, nil); code != http.StatusOK {
		t.Errorf("the startup probe gets %d", code)
	}
	for _, headers := range []http.Header{
		{},
		{"X-Cloudtasks-Queuename": {"default"}},
		{"X-Appengine-Queuename": {"default"}, "X-Appengine-Cron": {"true"}},
	} {
		if code := s.answer(t, http.MethodPost, handlers.SweepPath, headers); code != http.StatusForbidden {
			t.Errorf("a sweep by a stranger with %v: %d, want 403", headers, code)
		}
	}
	const recipients, unknown = 200, 10
	message := s.send(t, recipients, unknown)
	s.until(t, message, "begin", func(b messages.Books) bool { return b.Delivered > 0 })
	told := time.Now()
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.end(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	t.Logf("SIGTERM under load: ended by itself after %v", time.Since(told).Round(time.Millisecond))

	s.run(t, env, container.Args...)
	books := s.until(t, message, "balance", func(b messages.Books) bool { return b.Balanced() == nil })
	if books.Receipts != recipients-unknown || books.Failures != unknown {
		t.Errorf("%d receipts and %d failures, want %d and %d", books.Receipts, books.Failures, recipients-unknown, unknown)
	}
	t.Logf("books: %+v", books)
	if calls := s.google.Calls(); calls["cloudtasks.googleapis.com"] == 0 || calls["datastore.googleapis.com"] == 0 || calls[rehearsal.KeysHost] == 0 || len(calls) != 3 {
		t.Errorf("the worker called %v", calls)
	}
	s.ledgerExpires(t)
}

// The same on App Engine, with app.yaml: its queue's and its cron's headers are
// taken for proof, there and for queues that are known.
func TestAppEngineInstance(t *testing.T) {
	s := setStage(t, tasks.TargetAppEngine)
	var app struct {
		Env map[string]string `yaml:"env_variables"`
	}
	decode(t, "app.yaml", &app)
	env := []string{"GAE_ENV=standard", "GAE_RUNTIME=go126", "GAE_SERVICE=default", "GAE_VERSION=1", "GAE_INSTANCE=i", "GOOGLE_CLOUD_PROJECT=my-project"}
	for name, value := range app.Env {
		env = append(env, name+"="+s.filled(t, value))
	}
	s.run(t, env)
	for path, want := range map[string]int{"/_ah/warmup": http.StatusOK, "/_ah/start": http.StatusNotFound, "/": http.StatusOK} { // 404 starts an instance as well
		if code := s.answer(t, http.MethodGet, path, nil); code != want {
			t.Errorf("GET %s: %d, want %d", path, code, want)
		}
	}
	for _, refused := range []struct {
		path    string
		headers http.Header
	}{
		{tasks.PushPath + "messages.send", http.Header{}},
		{tasks.PushPath + "messages.send", http.Header{"X-Appengine-Queuename": {"no-queue-of-ours"}}},
		{tasks.PushPath + "messages.send", http.Header{"X-Appengine-Cron": {"true"}}},
		{tasks.PushPath + "messages.send", http.Header{"X-Cloudtasks-Queuename": {"default"}}},
	} {
		if code := s.answer(t, http.MethodPost, refused.path, refused.headers); code != http.StatusForbidden {
			t.Errorf("POST %s with %v: %d, want 403", refused.path, refused.headers, code)
		}
	}
	if code := s.answer(t, http.MethodGet, handlers.SweepPath, http.Header{"X-Appengine-Cron": {"true"}}); code != http.StatusOK {
		t.Errorf("cron's sweep: %d, want 200", code)
	}
	const recipients, unknown = 40, 4
	message := s.send(t, recipients, unknown)
	books := s.until(t, message, "balance", func(b messages.Books) bool { return b.Balanced() == nil })
	if books.Receipts != recipients-unknown || books.Failures != unknown {
		t.Errorf("%d receipts and %d failures, want %d and %d", books.Receipts, books.Failures, recipients-unknown, unknown)
	}
	t.Logf("books: %+v", books)
	s.ledgerExpires(t)
}

// ledgerExpires looks for the property that the deploy's TTL policy goes by.
func (s *stage) ledgerExpires(t *testing.T) {
	t.Helper()
	var rows []datastore.PropertyList
	if _, err := s.ledger.GetAll(context.WithoutCancel(t.Context()), datastore.NewQuery(handlers.LedgerKind).Limit(3), &rows); err != nil || len(rows) == 0 {
		t.Fatalf("%d rows of the ledger, %v", len(rows), err)
	}
	plan, err := os.ReadFile("deploy/testdata/cloud-run.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rows[0] {
		if _, ok := p.Value.(time.Time); ok && strings.Contains(string(plan), "ttls update "+p.Name+" --collection-group="+handlers.LedgerKind) {
			return
		}
	}
	t.Errorf("no property of the ledger's row %+v is that of the TTL policy", rows[0])
}

func decode(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
