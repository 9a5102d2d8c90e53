package cloudtasks_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// A logbook is what a server logged, without the times.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// The transcript has the log of tasks that fail in all ways: who runs the
// program without a flag sees the first failure of each that no worker answered,
// and what is given up.
func TestLog(t *testing.T) {
	var transcript strings.Builder
	httpTask := func(url string) *cloudtaskspb.Task {
		task := post("a")
		task.GetHttpRequest().Url = url
		return task
	}
	appEngine := func() *cloudtaskspb.Task {
		return &cloudtaskspb.Task{Name: queue1 + "/tasks/a", MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{
			AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{RelativeUri: "/work"}}}
	}
	for _, tt := range []struct {
		name    string
		task    *cloudtaskspb.Task
		handler http.Handler
		raw     func(net.Conn)
		o       cloudtasks.Options
	}{
		{name: "nobody listens", task: post("a")},
		{name: "the worker succeeds", task: post("a"), handler: &recorder{}},
		{name: "the worker fails once", task: post("a"), handler: &recorder{script: []int{503}}},
		{name: "the worker fails for good", task: post("a"), handler: &recorder{script: []int{404, 500, 500}}},
		{name: "the worker hangs", task: post("a"), raw: func(c net.Conn) { io.Copy(io.Discard, c) }},
		{name: "the URL is none", task: httpTask("http://worker:port/work")},
		{name: "the URL is none, and long", task: httpTask("http://worker/%zz" + strings.Repeat("x", 2000))},
		{name: "the URL is long", task: httpTask("http://worker:80/" + strings.Repeat("x", 2000))},
		{name: "the URL has a password", task: httpTask("http://me:secret@worker:80/work")},
		{name: "App Engine has no address", task: appEngine()},
		{name: "App Engine has a wrong address", task: appEngine(), o: cloudtasks.Options{AppEngine: map[string]string{"": "nobody:80"}}},
	} {
		synctest.Test(t, func(t *testing.T) { // no subtest: a transcript of some would overwrite that of all
			var log logbook
			tt.o.Logger = log.logger(slog.LevelDebug)
			e := start(t, &tt.o, tt.handler)
			if tt.raw != nil {
				serveRaw(e, tt.raw)
			}
			e.queue(&cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 3, MinBackoff: durationpb.New(time.Second)}})
			tt.task.DispatchDeadline = durationpb.New(15 * time.Second)
			e.create(tt.task)
			time.Sleep(time.Minute)
			fmt.Fprintf(&transcript, "%s\n----\n%s\n", tt.name, log.String())
		})
	}
	golden(t, "log.txt", transcript.String())
}

// A duplicate and an attempt cut short by Close are no failures of the task.
func TestLogOfDuplicatesAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		e := start(t, &cloudtasks.Options{Chaos: duplicateAll(t), Logger: log.logger(slog.LevelDebug)}, nil)
		e.queue(&cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(time.Hour)}})
		e.create(post("refused"))
		time.Sleep(time.Second)
		serveRaw(e, func(c net.Conn) { io.Copy(io.Discard, c) })
		e.create(post("hangs"))
		time.Sleep(time.Second)
		if err := e.server.Close(); err != nil {
			t.Fatal(err)
		}
		lines := log.String()
		if n := strings.Count(lines, "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want 1, for the refused task:\n%s", n, lines)
		}
		if n := strings.Count(lines, "duplicate=true"); n != 2 {
			t.Errorf("%d lines about duplicates, want 2:\n%s", n, lines)
		}
	})
}
