package cloudtasks_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// A folder has App Engine's files, whose times differ from edition to edition
// however coarse the file system's clock is.
type folder struct {
	t   *testing.T
	dir string
	n   int
}

func (f *folder) write(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.n++
	at := time.Date(2000, 1, 1, 0, 0, f.n, 0, time.UTC)
	if err := os.Chtimes(path, at, at); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// A log that can be read while it is written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// noticed waits until changes of files have been noticed.
func noticed() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func (e *env) queueNames() string {
	e.t.Helper()
	var all []string
	queues := e.tasks.ListQueues(e.t.Context(), &cloudtaskspb.ListQueuesRequest{Parent: location})
	for q, err := queues.Next(); err != iterator.Done; q, err = queues.Next() {
		if err != nil {
			e.t.Fatal(err)
		}
		all = append(all, fmt.Sprint(q.GetName()[len(location+"/queues/"):], " ", q.GetRateLimits().GetMaxDispatchesPerSecond(), " ", q.GetState()))
	}
	return strings.Join(all, ", ")
}

func TestQueueYAML(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, lines := &folder{t: t, dir: t.TempDir()}, new(log)
		path := files.write("queue.yaml", "queue:\n- {name: a, rate: 5/s}\n- {name: b, rate: 0}")
		e := start(t, &cloudtasks.Options{
			QueueYAML: path, Project: "p", Location: "us-central1", Logger: slog.New(slog.NewTextHandler(lines, nil)),
		}, nil)
		if got, want := e.queueNames(), "a 5 RUNNING, b 500 PAUSED"; got != want {
			t.Errorf("queues %s, want %s", got, want)
		}
		files.write("queue.yaml", "queue:\n- {name: a, rate: 10/s}\n- {name: c, rate: 1/m}")
		noticed()
		const second = "a 10 RUNNING, b 500 PAUSED, c 0.016666667 RUNNING"
		if got := e.queueNames(); got != second {
			t.Errorf("queues %s, want %s", got, second)
		}
		files.write("queue.yaml", "queue:\n- {name: a, rate: 10/w}")
		noticed()
		if got := e.queueNames(); got != second {
			t.Errorf("after a bad change: queues %s, want %s", got, second)
		}
		for _, want := range []string{`queue=b change="paused: the rate is 0"`, `queue=a change="rate 5/s → 10/s"`, "level=ERROR", `line 2: Rate \"10/w\" is invalid`} {
			if !strings.Contains(lines.String(), want) {
				t.Errorf("the log lacks %s:\n%s", want, lines)
			}
		}
	})
}

// Jobs of cron.yaml are there, run, and follow the file, which alone changes them.
func TestCronYAML(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &folder{t: t, dir: t.TempDir()}
		path := files.write("cron.yaml", "cron:\n- {url: /sweep, schedule: every 1 minutes}\n- {url: /report, schedule: every day 03:00, timezone: Europe/Berlin}")
		app := new(recorder)
		dir := t.TempDir()
		o := func() *cloudtasks.Options {
			return &cloudtasks.Options{Dir: dir, CronYAML: path, Project: "p", Location: "us-central1", AppEngine: map[string]string{"": "worker:80"}}
		}
		e := start(t, o(), app)
		c := e.scheduler()
		ctx := t.Context()
		names := func() string {
			t.Helper()
			var all []string
			jobs := c.ListJobs(ctx, &schedulerpb.ListJobsRequest{Parent: location})
			for j, err := jobs.Next(); err != iterator.Done; j, err = jobs.Next() {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, j.GetName()[len(location+"/jobs/"):]+" "+j.GetSchedule())
			}
			return strings.Join(all, ", ")
		}
		const report, sweep = location + "/jobs/cron-report", location + "/jobs/cron-sweep"
		if got, want := names(), "cron-report every day 03:00, cron-sweep every 1 minutes"; got != want {
			t.Fatalf("jobs %s, want %s", got, want)
		}
		time.Sleep(90 * time.Second)
		if n := len(app.times()); n != 1 || app.headers()[0].Get("X-Appengine-Cron") != "true" {
			t.Errorf("%d requests, want 1 with X-Appengine-Cron", n)
		}
		for name, err := range map[string]error{
			"DeleteJob": c.DeleteJob(ctx, &schedulerpb.DeleteJobRequest{Name: report}),
			"UpdateJob": func() error {
				_, err := c.UpdateJob(ctx, &schedulerpb.UpdateJobRequest{Job: &schedulerpb.Job{Name: report}})
				return err
			}(),
		} {
			if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "Job "+report+" comes from cron.yaml: change it there." {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := c.PauseJob(ctx, &schedulerpb.PauseJobRequest{Name: report}); err != nil {
			t.Fatal(err)
		}
		createJob(t, c, `{"name": "`+job1+`", "schedule": "* * 1 1 *", "httpTarget": {"uri": "http://worker:80/"}}`)

		// A job that stays what it was keeps its state; others begin anew.
		files.write("cron.yaml", "cron:\n- {url: /sweep, schedule: every 2 minutes}\n- {url: /report, schedule: every day 03:00, timezone: Europe/Berlin}\n- {url: /new, schedule: every day 03:00}")
		noticed()
		if got, want := names(), "cron-new every day 03:00, cron-report every day 03:00, cron-sweep every 2 minutes, j1 * * 1 1 *"; got != want {
			t.Errorf("jobs %s, want %s", got, want)
		}
		if got := getJob(t, c, report).GetState(); got != schedulerpb.Job_PAUSED {
			t.Errorf("a job that stays is %v", got)
		}
		if j := getJob(t, c, sweep); j.GetLastAttemptTime() != nil {
			t.Errorf("a job that has changed: %v", j)
		}
		files.write("cron.yaml", "cron:\n- {url: /report, schedule: sometimes}")
		noticed()
		if got := names(); strings.Count(got, ",") != 3 {
			t.Errorf("after a bad change: jobs %s", got)
		}
		files.write("cron.yaml", "cron:\n- {url: /report, schedule: every day 03:00, timezone: Europe/Berlin}")
		noticed()
		if got, want := names(), "cron-report every day 03:00, j1 * * 1 1 *"; got != want {
			t.Errorf("jobs %s, want %s", got, want)
		}

		// The state of a file's job survives, and its jobs go with the file.
		for _, without := range []bool{false, true} {
			if err := e.server.Close(); err != nil {
				t.Fatal(err)
			}
			again := o()
			want := "cron-report every day 03:00, j1 * * 1 1 *"
			if without {
				again.CronYAML, want = "", "j1 * * 1 1 *"
			}
			again.Transport = &http.Transport{DialContext: e.net.DialContext}
			e.open(again)
			c = e.scheduler()
			if got := names(); got != want {
				t.Errorf("after a restart: jobs %s, want %s", got, want)
			}
			if !without && getJob(t, c, report).GetState() != schedulerpb.Job_PAUSED {
				t.Error("after a restart the paused job runs")
			}
		}
	})
}

// dispatch.yaml says which service gets a task or a job that names none.
func TestDispatchYAML(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &folder{t: t, dir: t.TempDir()}
		path := files.write("dispatch.yaml", "dispatch:\n- {url: '*/mobile/*', service: front}")
		front, rest := new(recorder), new(recorder)
		e := start(t, &cloudtasks.Options{
			DispatchYAML: path, AppEngine: map[string]string{"": "worker:80", "front": "front:80"},
		}, rest)
		e.serveHTTP("front:80", front)
		e.queue(nil)
		send := func() {
			t.Helper()
			for _, uri := range []string{"/mobile/x", "/api/x"} {
				e.create(&cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{
					AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{RelativeUri: uri},
				}})
			}
			synctest.Wait()
		}
		send()
		createJob(t, e.scheduler(), `{"name": "`+job1+`", "schedule": "* * * * *", "appEngineHttpTarget": {"relativeUri": "/mobile/job"}}`)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if a, b := len(front.times()), len(rest.times()); a != 2 || b != 1 {
			t.Errorf("%d requests to the service of the rule, want 2; %d to the default one, want 1", a, b)
		}
		files.write("dispatch.yaml", "dispatch:\n- {url: '*/api/*', service: front}\n- {url: '*/mobile/job', service: front}")
		noticed()
		send()
		if a, b := len(front.times()), len(rest.times()); a != 3 || b != 2 {
			t.Errorf("after a change %d and %d requests, want 3 and 2", a, b)
		}
	})
}

// What stands in the way of a good file is logged, and doesn't keep the server
// from starting: it has to run to be put right.
func TestFilesMeetOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, lines, dir := &folder{t: t, dir: t.TempDir()}, new(log), t.TempDir()
		e := start(t, &cloudtasks.Options{Dir: dir}, nil)
		e.queue(nil)
		if err := e.tasks.DeleteQueue(t.Context(), &cloudtaskspb.DeleteQueueRequest{Name: queue1}); err != nil {
			t.Fatal(err)
		}
		createJob(t, e.scheduler(), `{"name": "`+location+`/jobs/cron-a", "schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/"}}`)
		if err := e.server.Close(); err != nil {
			t.Fatal(err)
		}
		e.open(&cloudtasks.Options{
			Dir: dir, Project: "p", Location: "us-central1", Logger: slog.New(slog.NewTextHandler(lines, nil)),
			QueueYAML: files.write("queue.yaml", "queue:\n- {name: q1, rate: 1/s}\n- {name: q2, rate: 1/s}"),
			CronYAML:  files.write("cron.yaml", "cron: [{url: /a, schedule: every day 00:00}]"),
			Transport: &http.Transport{DialContext: e.net.DialContext},
		})
		if got, want := e.queueNames(), "q2 1 RUNNING"; got != want {
			t.Errorf("queues %s, want %s", got, want)
		}
		for _, want := range []string{"a queue with this name existed too recently", "the name is taken by a job that is not from cron.yaml"} {
			if !strings.Contains(lines.String(), want) {
				t.Errorf("the log lacks %s:\n%s", want, lines)
			}
		}
	})
}

// What is wrong with a file at the start is an error that names it.
func TestFilesAtStart(t *testing.T) {
	files := &folder{t: t, dir: t.TempDir()}
	bad := files.write("bad.yaml", "what: 1")
	good := files.write("good.yaml", "queue: []")
	for want, o := range map[string]*cloudtasks.Options{
		bad + `: line 1: the file has an unknown field "what"`:         {QueueYAML: bad, Project: "p", Location: "l"},
		bad + ": line 1: the file has":                                 {CronYAML: bad, Project: "p", Location: "l"},
		bad + ": line 1: the file":                                     {DispatchYAML: bad},
		"no such file":                                                 {QueueYAML: filepath.Join(files.dir, "none"), Project: "p", Location: "l"},
		`project "", location "l": queue.yaml and cron.yaml need both`: {QueueYAML: good, Location: "l"},
		`project "a/b", location "l": the names of queues`:             {QueueYAML: good, Project: "a/b", Location: "l"},
	} {
		server, err := cloudtasks.New(o)
		if err == nil {
			server.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %s", err, want)
		}
	}
}
