package console_test

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchwork/latchwork/emulator/console"
)

func get(t *testing.T, s console.Status, path string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := console.New(func() console.Status { return s })
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func full() console.Status {
	return console.Status{
		Uptime: 90*time.Second + 400*time.Millisecond,
		Data:   "/var/lib/latchwork",
		CloudTasks: console.CloudTasks{Addr: "127.0.0.1:8123", InFlight: 3, Queues: []console.Queue{
			{Name: "projects/p/locations/l/queues/mail", State: "RUNNING", Waiting: 12, Running: 3, OldestETA: time.Now().Add(time.Hour), ExecutedLastMinute: 45, Attempts: 678,
				LastFailure: console.Failure{At: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), Task: "task-7", Reason: `dial <script>alert("reason")</script>`}},
			{Name: "projects/p/locations/l/queues/slow", State: "PAUSED", OldestETA: time.Now().Add(-time.Minute)},
			{Name: "projects/p/locations/l/queues/empty", State: "RUNNING"},
		}},
		Datastore: console.Datastore{Addr: "127.0.0.1:8081", Concurrency: "pessimistic", Transactions: 2, Kinds: []console.Kind{
			{Project: "p", Name: "Message", Entities: 1000},
			{Project: "p", Namespace: "tenant", Name: `<script>alert("kind")</script>`, Entities: 1},
		}},
		Memcached: console.Memcached{Addr: "127.0.0.1:11211", Items: 7, Bytes: 1536, MaxBytes: 64 << 20, Conns: 2, MaxConns: 1024, Hits: 3, Misses: 1, Sets: 9, Evictions: 5},
	}
}

func TestPageShowsEverything(t *testing.T) {
	w := get(t, full(), "/")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("status %d, %v", w.Code, w.Header())
	}
	page := html.UnescapeString(w.Body.String())
	for _, want := range []string{
		"up 1m30s", "/var/lib/latchwork",
		"127.0.0.1:8123", "3 deliveries under way", ">mail<", ">RUNNING<", ">12<", ">45<", ">678<", "in 1h0m0s", ">slow<", ">PAUSED<", "due for 1m0s", ">empty<", ">-<",
		`15:04:05 <code>task-7</code> dial <script>alert("reason")</script><`,
		"127.0.0.1:8081", "2 open transactions · pessimistic", ">Message<", ">1000<", ">tenant<",
		"127.0.0.1:11211", "1.5 KiB of 64.0 MiB", "2 of 1024", "75.0 %",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(w.Body.String(), "<script") {
		t.Error("a kind's name or a failure's reason is markup on the page")
	}
	if strings.Contains(page, "http-equiv") || strings.Contains(page, "has stopped") {
		t.Error("the page reloads itself or raises the alarm without reason")
	}
}

func TestEmptyPage(t *testing.T) {
	page := get(t, console.Status{}, "/").Body.String()
	for _, want := range []string{"in memory", "no queues yet", "no entities yet"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestLongTablesAreCut(t *testing.T) {
	var s console.Status
	for i := range 600 {
		s.CloudTasks.Queues = append(s.CloudTasks.Queues, console.Queue{Name: fmt.Sprintf("queue-%d.", i)})
		s.Datastore.Kinds = append(s.Datastore.Kinds, console.Kind{Name: fmt.Sprintf("kind-%d.", i)})
	}
	page := get(t, s, "/").Body.String()
	for _, want := range []string{"queue-499.", "kind-499.", "and 100 more queues", "and 100 more kinds"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "queue-500.") || strings.Contains(page, "kind-500.") {
		t.Error("more than 500 rows")
	}
}

func TestLongFailuresAreCut(t *testing.T) {
	s := console.Status{CloudTasks: console.CloudTasks{Queues: []console.Queue{{Name: "q", State: "RUNNING", LastFailure: console.Failure{
		At: time.Now(), Task: strings.Repeat("t", 500), Reason: strings.Repeat("é", 121)}}}}}
	page := get(t, s, "/").Body.String()
	for _, want := range []string{">" + strings.Repeat("t", 120) + "…<", " " + strings.Repeat("é", 120) + "…<"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestRefresh(t *testing.T) {
	if page := get(t, full(), "/?refresh=7").Body.String(); !strings.Contains(page, `http-equiv="refresh" content="7"`) {
		t.Error("?refresh=7 doesn't")
	}
	for _, bad := range []string{"0", "-1", "3601", "x", "1;url=https://evil.example"} {
		w := get(t, full(), "/?refresh="+strings.ReplaceAll(bad, ";", "%3B"))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "1 to 3600") {
			t.Errorf("refresh=%s: %d %s, want 400 with the rule", bad, w.Code, w.Body)
		}
	}
}

func TestHealth(t *testing.T) {
	if w := get(t, full(), "/healthz"); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Errorf("healthy: %d %q", w.Code, w.Body)
	}
	s := full()
	s.Err = errors.New("the disk is on fire")
	if w := get(t, s, "/healthz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "disk is on fire") {
		t.Errorf("not healthy: %d %q", w.Code, w.Body)
	}
	if page := get(t, s, "/").Body.String(); !strings.Contains(page, "disk is on fire") {
		t.Error("the page doesn't say it")
	}
}

func TestNothingElse(t *testing.T) {
	for _, path := range []string{"/page.html", "/nothing", "/healthz/x"} {
		if w := get(t, full(), path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, w.Code)
		}
	}
	if w := get(t, full(), "/style.css"); w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Type"), "text/css") {
		t.Errorf("style: %d %v", w.Code, w.Header())
	}
	h, err := console.New(full)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d, want 405", w.Code)
	}
	for header, want := range map[string]string{"X-Frame-Options": "DENY", "Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store"} {
		if got := w.Header().Get(header); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q in it", header, got, want)
		}
	}
}
