package cli

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The flags reach the queues: names are free as soon as --task-tombstone and
// --queue-tombstone let them; with --throttle a queue is slowed down whose target
// answers 503.
func TestQueueFlags(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer target.Close()
	flags := &standIns{
		CloudTasksAddr: "127.0.0.1:0", DatastoreAddr: "127.0.0.1:0", MemcachedAddr: "127.0.0.1:0", ConsoleAddr: "off",
		Ephemeral: true, DatastoreTransactionIdle: time.Minute,
		Throttle: true, TaskTombstone: -1, QueueTombstone: -1,
	}
	suite, err := flags.start(t.Context(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	queues := "http://" + suite.CloudTasksAddr() + "/v2beta3/projects/p/locations/l/queues"
	call := func(method, url, body string, answer any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		if w.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s", method, url, w.Status)
		}
		if err := json.NewDecoder(w.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
	create := func() {
		t.Helper()
		call(http.MethodPost, queues, `{"name": "projects/p/locations/l/queues/q", "retryConfig": {"maxBackoff": "0.1s"}}`, new(any))
		for range 2 {
			call(http.MethodPost, queues+"/q/tasks", `{"task": {"name": "projects/p/locations/l/queues/q/tasks/t", "httpRequest": {"url": "`+target.URL+`"}}}`, new(any))
			call(http.MethodDelete, queues+"/q/tasks/t", "", new(any))
		}
	}
	create()
	call(http.MethodDelete, queues+"/q", "", new(any))
	create()
	call(http.MethodPost, queues+"/q/tasks", `{"task": {"httpRequest": {"url": "`+target.URL+`"}}}`, new(any))
	for {
		failed := !suite.Stats().CloudTasks.Queues[0].LastFailure.At.IsZero()
		var queue struct {
			Stats struct{ EffectiveExecutionRate float64 }
		}
		call(http.MethodGet, queues+"/q?readMask=stats", "", &queue)
		switch rate := queue.Stats.EffectiveExecutionRate; {
		case rate < 500:
			return
		case failed:
			t.Fatalf("after a failure the queue still makes %v dispatches a second", rate)
		}
	}
}
