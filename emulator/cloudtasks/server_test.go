package cloudtasks_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

func TestBadOptions(t *testing.T) {
	for _, tt := range []struct {
		o    cloudtasks.Options
		want string
	}{
		{cloudtasks.Options{Fsync: "sometimes"}, `fsync "sometimes"`},
		{cloudtasks.Options{MaxInFlight: -1}, "-1 deliveries in flight"},
		{cloudtasks.Options{AppEngine: map[string]string{"s": "nowhere"}}, `address "nowhere" of the App Engine service "s": must be host:port`},
	} {
		server, err := cloudtasks.New(&tt.o)
		if err == nil {
			server.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.o, err, tt.want)
		}
	}
}

func TestAFolderHasOneServer(t *testing.T) {
	dir := t.TempDir()
	one, err := cloudtasks.New(&cloudtasks.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	two, err := cloudtasks.New(&cloudtasks.Options{Dir: dir})
	if err == nil {
		two.Close()
	}
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second server on the folder: %v", err)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if err := one.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestABrokenKeyFileFailsAttemptsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		e := start(t, &cloudtasks.Options{Dir: dir}, &recorder{})
		if err := os.WriteFile(filepath.Join(dir, "oidc-key.pem"), []byte("half a ke"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.queue(&cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(time.Hour)}})
		task := withToken("")
		task.Name = queue1 + "/tasks/a"
		e.create(task)
		synctest.Wait()
		got, err := e.get("a")
		if err != nil {
			t.Fatal(err)
		}
		if s := got.GetLastAttempt().GetResponseStatus(); s.GetCode() != 13 || !strings.Contains(s.GetMessage(), "oidc-key.pem: not a PEM file") {
			t.Errorf("status of the attempt: %v", s)
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := start(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
		e.queue(nil)
		e.queue(&cloudtaskspb.Queue{Name: location + "/queues/q2"})
		if _, err := e.tasks.PauseQueue(t.Context(), &cloudtaskspb.PauseQueueRequest{Name: location + "/queues/q2"}); err != nil {
			t.Fatal(err)
		}
		eta := time.Now().Add(time.Hour)
		later := post("")
		later.ScheduleTime = timestamppb.New(eta)
		e.create(later)
		e.create(post(""))
		synctest.Wait()
		s := e.server.Stats()
		if len(s.Queues) != 2 || s.InFlight != 1 {
			t.Fatalf("%+v", s)
		}
		one, two := s.Queues[0], s.Queues[1]
		if one.Name != queue1 || one.State != "RUNNING" || one.Tasks != 2 || one.Waiting != 1 || one.Running != 1 ||
			!one.OldestETA.Equal(eta) || one.ExecutedLastMinute != 0 || one.Attempts != 1 {
			t.Errorf("%+v", one)
		}
		if two.State != "PAUSED" || !two.OldestETA.IsZero() {
			t.Errorf("%+v", two)
		}
		close(release)
		synctest.Wait()
		if s := e.server.Stats(); s.InFlight != 0 || s.Queues[0].Tasks != 1 || s.Queues[0].ExecutedLastMinute != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// The last failure of a queue outlives its task, and a later success.
func TestLastFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, &recorder{script: []int{200, 404, 503}})
		e.queue(&cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 1}})
		for _, tt := range []struct{ id, reason string }{
			{"a", ""}, {"b", "NOT_FOUND(5): HTTP status code 404"}, {"c", "UNAVAILABLE(14): HTTP status code 503"}, {"d", ""},
		} {
			time.Sleep(time.Second)
			want := e.server.Stats().Queues[0].LastFailure
			if tt.reason != "" {
				want = cloudtasks.Failure{At: time.Now(), Task: tt.id, Reason: tt.reason}
			}
			e.create(post(tt.id))
			synctest.Wait()
			got := e.server.Stats().Queues[0].LastFailure
			if got.Task != want.Task || got.Reason != want.Reason || !got.At.Equal(want.At) {
				t.Errorf("after task %s: %+v, want %+v", tt.id, got, want)
			}
		}
	})
}

// RunTask never makes its caller wait for the handler.
func TestRunTaskReturnsAtDispatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := start(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
		e.queue(nil)
		later := post("a")
		later.ScheduleTime = timestamppb.New(time.Now().Add(time.Hour))
		e.create(later)
		before := time.Now()
		task, err := e.tasks.RunTask(t.Context(), &cloudtaskspb.RunTaskRequest{Name: queue1 + "/tasks/a"})
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(before); waited > 0 || task.DispatchCount != 1 {
			t.Errorf("returned after %v with a dispatch count of %d", waited, task.DispatchCount)
		}
		close(release)
		synctest.Wait()
		if _, err := e.get("a"); err == nil {
			t.Error("the task is still there after its success")
		}
	})
}

// Close must end everything, or the bubble doesn't end.
func TestCloseInTheMidstOfDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, &cloudtasks.Options{Chaos: duplicateAll(t)}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // net/http watches the connection only from here on
			<-r.Context().Done()
		}))
		e.queue(nil)
		for range 50 {
			e.create(post(""))
		}
		synctest.Wait()
		if err := e.server.Close(); err != nil {
			t.Error(err)
		}
		if s := e.server.Stats(); s.InFlight != 0 || s.Queues[0].Tasks != 50 {
			t.Errorf("%+v", s)
		}
	})
}
