package emulatortest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"github.com/bradfitz/gomemcache/memcache"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/internal/fault"
)

// enqueue creates an HTTP task that is due after d.
func enqueue(t testing.TB, e *emulatortest.Env, queue, url string, d time.Duration) *cloudtaskspb.Task {
	t.Helper()
	task, err := e.Tasks.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: &cloudtaskspb.Task{
		ScheduleTime: timestamppb.New(time.Now().Add(d)),
		MessageType:  &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: url}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// The whole path in one bubble: a task is pushed to a worker, which stores an
// entity in a transaction under a memcached key; a task for tomorrow is reached
// without waiting.
func TestWholePathInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		queue := e.CreateQueue("mail", nil)
		start := time.Now()
		var at []time.Duration
		url := e.ServeHTTP("worker.example:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at = append(at, time.Since(start).Round(time.Second))
			if err := e.Memcache.Add(&memcache.Item{Key: r.Header.Get("X-CloudTasks-TaskName"), Value: []byte("me")}); err != nil {
				t.Error(err)
			}
			_, err := e.Datastore.RunInTransaction(r.Context(), func(tx *datastore.Transaction) error {
				_, err := tx.Put(datastore.NameKey("Receipt", r.Header.Get("X-CloudTasks-TaskName"), nil), &struct{ Path string }{r.URL.Path})
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}))
		enqueue(t, e, queue, url+"/tasks/now", 0)
		enqueue(t, e, queue, url+"/tasks/later", 24*time.Hour)
		if err := e.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, 24 * time.Hour}; !slices.Equal(at, want) {
			t.Errorf("delivered after %v, want %v", at, want)
		}
		var receipts []struct{ Path string }
		if _, err := e.Datastore.GetAll(t.Context(), datastore.NewQuery("Receipt").Order("Path"), &receipts); err != nil {
			t.Fatal(err)
		}
		if len(receipts) != 2 || receipts[0].Path != "/tasks/later" || receipts[1].Path != "/tasks/now" {
			t.Errorf("receipts %+v", receipts)
		}
		if n := e.Suite.Stats().Memcached.Items; n != 2 {
			t.Errorf("%d memcached items, want 2", n)
		}
	})
}

func TestOutsideABubble(t *testing.T) {
	e := emulatortest.Start(t, nil)
	queue := e.CreateQueue("mail", nil)
	var n atomic.Int64
	url := e.ServeHTTP("127.0.0.1:0", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) }))
	for range 20 {
		enqueue(t, e, queue, url+"/tasks/x", 0)
	}
	if err := e.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.Load() != 20 {
		t.Errorf("%d deliveries, want 20", n.Load())
	}
	resp, err := e.HTTP.Get("http://" + e.Suite.CloudTasksAddr() + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.Contains(string(body), "jwks_uri") {
		t.Errorf("discovery: %d %s", resp.StatusCode, body)
	}
}

// The environment of a developer's shell must not lead the clients elsewhere.
func TestEnvironmentIsIgnored(t *testing.T) {
	for _, name := range []string{"DATASTORE_EMULATOR_HOST", "CLOUD_TASKS_EMULATOR_HOST", "MEMCACHE_ADDRS"} {
		t.Setenv(name, "192.0.2.1:1")
	}
	e := emulatortest.Start(t, nil)
	e.CreateQueue("q", nil)
	if _, err := e.Datastore.Put(t.Context(), datastore.NameKey("K", "k", nil), &struct{ A int }{1}); err != nil {
		t.Error(err)
	}
	if err := e.Memcache.Ping(); err != nil {
		t.Error(err)
	}
}

func TestFaultsInAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		var s fault.Script
		s.On("Commit", 1, fault.Lose(status.Error(codes.Internal, "the answer is lost")))
		c := e.NewDatastoreClient(grpc.WithUnaryInterceptor(s.Unary()))
		key := datastore.NameKey("K", "k", nil)
		if _, err := c.Put(t.Context(), key, &struct{ A int }{1}); status.Code(err) != codes.Internal {
			t.Errorf("Put: %v, want the injected error", err)
		}
		var got struct{ A int }
		if err := e.Datastore.Get(t.Context(), key, &got); err != nil || got.A != 1 {
			t.Errorf("the lost commit: %+v, %v", got, err)
		}
		d := fault.NewDialer(e.Net.DialContext, nil)
		m := e.NewMemcacheClient(d.DialContext)
		if err := m.Ping(); err != nil {
			t.Error(err)
		}
		d.Refuse(true)
		d.Cut()
		if err := m.Ping(); err == nil {
			t.Error("memcached answers over a cut connection")
		}
	})
}

func TestDrainGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, &emulatortest.Options{AllowStuckTasks: true})
		queue := e.CreateQueue("mail", nil)
		url := e.ServeHTTP("worker.example:80", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done() // a handler that takes for ever
		}))
		enqueue(t, e, queue, url+"/tasks/slow", 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := e.Drain(ctx)
		left, ok := errors.AsType[*emulatortest.NotDrainedError](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) || len(left.Queues) != 1 || !strings.Contains(err.Error(), queue) {
			t.Errorf("with a deadline: %v, want it and the queue", err)
		}
		if _, err := e.Tasks.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: queue}); err != nil {
			t.Fatal(err)
		}
		if err := e.Drain(t.Context()); err != nil {
			t.Errorf("a paused queue: %v", err)
		}
	})
}

func TestAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		queue := e.CreateQueue("mail", nil)
		var n atomic.Int64
		url := e.ServeHTTP("worker.example:80", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) }))
		enqueue(t, e, queue, url+"/tasks/x", time.Hour)
		e.RequireEnqueued("mail", "x", 1)
		e.RequireEnqueued(queue, "y", 0)
		e.Advance(59 * time.Minute)
		if n.Load() != 0 {
			t.Error("delivered before its time")
		}
		e.Advance(time.Minute)
		if n.Load() != 1 {
			t.Errorf("%d deliveries after an hour, want 1", n.Load())
		}
		e.RequireEnqueued("mail", "x", 0)
	})
}

// recorder is a testing.TB that notes failures, and runs its cleanups on demand.
type recorder struct {
	testing.TB
	failures []string
	cleanups []func()
}

// fatal ends the recorded test.
type fatal struct{}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(fatal{})
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// run runs f as a test of its own and returns how it failed.
func run(t *testing.T, f func(testing.TB)) []string {
	t.Helper()
	r := &recorder{TB: t}
	func() {
		defer func() {
			if v := recover(); v != nil && v != (fatal{}) {
				panic(v)
			}
		}()
		f(r)
	}()
	for _, c := range slices.Backward(r.cleanups) {
		c()
	}
	return r.failures
}

// failing answers 500, slow not at all.
func failing(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
func slow(_ http.ResponseWriter, r *http.Request)    { <-r.Context().Done() }

func putOutbox(t testing.TB, e *emulatortest.Env, kind, namespace string) {
	t.Helper()
	key := datastore.NameKey(kind, "x", nil)
	key.Namespace = namespace
	if _, err := e.Datastore.Put(context.Background(), key, &struct{ A int }{1}); err != nil {
		t.Fatal(err)
	}
}

// Each check can fail, says why, and can be switched off.
func TestChecksAtTheEnd(t *testing.T) {
	task := func(h http.HandlerFunc, after time.Duration, pause bool) func(testing.TB, *emulatortest.Env) {
		return func(t testing.TB, e *emulatortest.Env) {
			queue := e.CreateQueue("mail", nil)
			url := e.ServeHTTP("worker.example:80", h)
			if pause {
				if _, err := e.Tasks.PauseQueue(context.Background(), &cloudtaskspb.PauseQueueRequest{Name: queue}); err != nil {
					t.Fatal(err)
				}
			}
			enqueue(t, e, queue, url+"/tasks/welcome", after)
		}
	}
	fine := func(http.ResponseWriter, *http.Request) {}
	for _, test := range []struct {
		name    string
		options emulatortest.Options
		test    func(testing.TB, *emulatortest.Env)
		want    []string // in the one failure; none means that there must be none
	}{
		{"nothing", emulatortest.Options{}, func(testing.TB, *emulatortest.Env) {}, nil},
		{"a task that ends during the check", emulatortest.Options{}, task(fine, 0, false), nil},
		{"a task for later", emulatortest.Options{}, task(failing, time.Hour, false), nil},
		{"a task in a paused queue", emulatortest.Options{}, task(failing, 0, true), nil},
		{"a task that fails", emulatortest.Options{}, task(failing, 0, false), []string{"stuck", "queues/mail/tasks/", "(welcome)", "attempts", "AllowStuckTasks"}},
		{"a task that fails, allowed", emulatortest.Options{AllowStuckTasks: true}, task(failing, 0, false), nil},
		{"a handler that hangs", emulatortest.Options{}, task(slow, 0, false), []string{"stuck", "(welcome)"}},
		{"a task soon due, and patience", emulatortest.Options{Patience: 5 * time.Second}, func(t testing.TB, e *emulatortest.Env) {
			task(func(http.ResponseWriter, *http.Request) { time.Sleep(4 * time.Second) }, 0, false)(t, e)
		}, nil},
		{"outbox", emulatortest.Options{}, func(t testing.TB, e *emulatortest.Env) { putOutbox(t, e, "_latchwork_outbox", "") },
			[]string{"1 _latchwork_outbox", "AllowOutbox"}},
		{"outbox of a namespace", emulatortest.Options{}, func(t testing.TB, e *emulatortest.Env) { putOutbox(t, e, "_latchwork_outbox", "tenant") },
			[]string{`namespace "tenant"`}},
		{"outbox, allowed", emulatortest.Options{AllowOutbox: true}, func(t testing.TB, e *emulatortest.Env) { putOutbox(t, e, "_latchwork_outbox", "") }, nil},
		{"outbox of another kind", emulatortest.Options{OutboxKind: "Outbox"}, func(t testing.TB, e *emulatortest.Env) { putOutbox(t, e, "Outbox", "") },
			[]string{"1 Outbox"}},
		{"another kind", emulatortest.Options{}, func(t testing.TB, e *emulatortest.Env) { putOutbox(t, e, "Message", "") }, nil},
		{"an emulator that was closed", emulatortest.Options{}, func(t testing.TB, e *emulatortest.Env) {
			task(failing, 0, false)(t, e)
			e.Suite.Close()
		}, []string{"can't look for stuck tasks", "AllowStuckTasks"}},
		{"too few tasks", emulatortest.Options{}, func(t testing.TB, e *emulatortest.Env) {
			task(failing, time.Hour, false)(t, e)
			e.RequireEnqueued("mail", "goodbye", 1)
		}, []string{"0 tasks", `"goodbye"`, "want 1", `others: ["welcome"]`}},
		{"too many tasks", emulatortest.Options{}, func(t testing.TB, e *emulatortest.Env) {
			task(failing, time.Hour, false)(t, e)
			e.RequireEnqueued("mail", "welcome", 0)
		}, []string{"1 tasks", "want 0"}},
		{"no such queue", emulatortest.Options{}, func(_ testing.TB, e *emulatortest.Env) { e.RequireEnqueued("absent", "x", 0) }, []string{"absent"}},
		{"a bad queue", emulatortest.Options{}, func(_ testing.TB, e *emulatortest.Env) { e.CreateQueue("not a name", nil) }, []string{"not a name"}},
		{"an address twice", emulatortest.Options{}, func(_ testing.TB, e *emulatortest.Env) { e.ServeHTTP("127.0.0.1:8081", nil) }, []string{"127.0.0.1:8081"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := run(t, func(tb testing.TB) { test.test(tb, emulatortest.Start(tb, &test.options)) })
				if len(test.want) == 0 && len(got) > 0 {
					t.Errorf("failed with %q", got)
				}
				if len(test.want) > 0 && len(got) != 1 {
					t.Fatalf("failures %q, want one", got)
				}
				for _, want := range test.want {
					if !strings.Contains(got[0], want) {
						t.Errorf("failure %q lacks %q", got[0], want)
					}
				}
			})
		})
	}
}

func TestFailuresOutsideABubble(t *testing.T) {
	if got := run(t, func(tb testing.TB) { emulatortest.Start(tb, nil).Advance(-time.Hour) }); len(got) != 1 || !strings.Contains(got[0], "never goes back") {
		t.Errorf("Advance: %q", got)
	}
	if got := run(t, func(tb testing.TB) {
		emulatortest.Start(tb, nil).SetChaos(emulator.ChaosSettings{Evict: 2})
	}); len(got) != 1 || !strings.Contains(got[0], "evict is 2") {
		t.Errorf("SetChaos: %q", got)
	}
	if got := run(t, func(tb testing.TB) {
		e := emulatortest.Start(tb, &emulatortest.Options{Patience: time.Millisecond, AllowStuckTasks: true})
		enqueue(tb, e, e.CreateQueue("mail", nil), e.ServeHTTP("worker.example:80", http.HandlerFunc(slow)), time.Hour)
		e.Advance(time.Hour)
	}); len(got) != 1 || !strings.Contains(got[0], "after Advance(1h0m0s)") || !strings.Contains(got[0], "queues/mail has 1 tasks") {
		t.Errorf("Advance to a handler that hangs: %q", got)
	}
	if got := run(t, func(tb testing.TB) {
		emulatortest.Start(tb, &emulatortest.Options{Suite: &emulator.Options{DatastoreAddr: "0.0.0.0:1"}})
	}); len(got) != 1 || !strings.Contains(got[0], "--datastore-addr") {
		t.Errorf("Start: %q", got)
	}
}

// What is stored survives the suite, as it survives a program.
func TestDataFolderBetweenSuites(t *testing.T) {
	dir := t.TempDir()
	o := &emulatortest.Options{Suite: &emulator.Options{Dir: dir}}
	if got := run(t, func(tb testing.TB) {
		e := emulatortest.Start(tb, o)
		enqueue(tb, e, e.CreateQueue("mail", nil), "http://worker.example/tasks/x", time.Hour)
	}); len(got) > 0 {
		t.Fatal(got)
	}
	emulatortest.Start(t, o).RequireEnqueued("mail", "x", 1)
}
