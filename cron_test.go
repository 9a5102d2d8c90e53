package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	scheduler "cloud.google.com/go/scheduler/apiv1"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// The emulator reads App Engine's files of its folder; `cron list` shows what it
// has made of cron.yaml, and `cron run` runs a job.
func TestCron(t *testing.T) {
	ran := make(chan string, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ran <- fmt.Sprint(r.Method, " ", r.URL, " cron=", r.Header.Get("X-Appengine-Cron"))
	}))
	defer app.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"queue.yaml":    "queue: [{name: reports, rate: 1/s}]",
		"dispatch.yaml": "dispatch: [{url: '*/report/*', service: reporter}]",
		"cron.yaml": `cron:
- {url: /report/weekly, schedule: "every monday 09:00", timezone: Europe/Berlin}
- {url: /other, schedule: "1st day of month 00:00", target: reporter}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "emulator", "--ephemeral", "--console-addr=off",
		"--cloud-tasks-addr=127.0.0.1:0", "--datastore-addr=127.0.0.1:0", "--memcached-addr=127.0.0.1:0",
		"--project=p", "--location=l", "--app-engine=reporter="+strings.TrimPrefix(app.URL, "http://"))
	cmd.Env, cmd.Dir = []string{"LATCHWORK_TEST_MAIN=1", "HOME=" + dir}, dir
	p := launch(t, cmd)
	host := strings.TrimPrefix(p.expect(t, "CLOUD_TASKS_EMULATOR_HOST="), "export ")
	env := []string{host, "GOOGLE_CLOUD_PROJECT=p", "CLOUD_TASKS_LOCATION=l"}

	stdout, stderr, err := runToEnd(t, env, "cron", "list")
	if err != nil {
		t.Fatalf("cron list: %v\n%s", err, stderr)
	}
	for _, want := range []string{
		"NAME", "cron-report-weekly", "ENABLED", "every monday 09:00 (Europe/Berlin)", "GET /report/weekly of service default", "never", " 09:00 CE",
		"cron-other", "1st day of month 00:00 (UTC)", "GET /other of service reporter", "-01 00:00 UTC, ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("cron list lacks %q:\n%s", want, stdout)
		}
	}
	// The service is that of dispatch.yaml.
	stdout, stderr, err = runToEnd(t, env, "cron", "run", "cron-report-weekly")
	if want := "started projects/p/locations/l/jobs/cron-report-weekly: GET /report/weekly of service default\n"; err != nil || stdout != want {
		t.Fatalf("cron run: %v\n%s%s\nwant %s", err, stdout, stderr, want)
	}
	select {
	case got := <-ran:
		if want := "GET /report/weekly cron=true"; got != want {
			t.Errorf("the app got %s, want %s", got, want)
		}
	case <-t.Context().Done():
		t.Fatal("the job did not run")
	}
	if _, stderr, err = runToEnd(t, env, "cron", "run", "none"); err == nil || !strings.Contains(stderr, `no job has the name "none" (latchwork cron list shows them)`) {
		t.Errorf("cron run none: %v\n%s", err, stderr)
	}
}

// The worker's own cron.yaml starts its sweeper: as App Engine's cron does, and
// where no cloud is.
func TestCronSweeps(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("cron.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cron.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "serve", "--ephemeral", "--console-addr=off", "--no-welcome",
		"--addr=127.0.0.1:0", "--cloud-tasks-addr=127.0.0.1:0", "--datastore-addr=127.0.0.1:0", "--memcached-addr=127.0.0.1:0")
	cmd.Env, cmd.Dir = []string{"LATCHWORK_TEST_MAIN=1", "HOME=" + dir}, dir
	p := launch(t, cmd)
	env := []string{strings.TrimPrefix(strings.TrimSpace(p.expect(t, "CLOUD_TASKS_EMULATOR_HOST=")), "export ")}
	p.expect(t, "enqueue") // the last line of the announcement, when the worker is about to serve
	if _, stderr, err := runToEnd(t, env, "cron", "run", "cron-_latchwork-sweep"); err != nil {
		t.Fatalf("cron run: %v\n%s", err, stderr)
	}
	for {
		stdout, stderr, err := runToEnd(t, env, "cron", "list")
		if err != nil {
			t.Fatalf("cron list: %v\n%s", err, stderr)
		}
		if strings.Contains(stdout, "  ok  ") {
			return
		}
		if !strings.Contains(stdout, "  running  ") {
			t.Fatalf("the sweep failed:\n%s", stdout)
		}
	}
}

// Jobs that were acknowledged are there after kill -9, as they were.
func TestJobsSurviveKill(t *testing.T) {
	dir := t.TempDir()
	var host string
	run := func() *process {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "emulator", "--data="+dir, "--console-addr=off",
			"--cloud-tasks-addr=127.0.0.1:0", "--datastore-addr=127.0.0.1:0", "--memcached-addr=127.0.0.1:0")
		cmd.Env, cmd.Dir = []string{"LATCHWORK_TEST_MAIN=1", "HOME=" + dir}, dir
		p := launch(t, cmd)
		_, host, _ = strings.Cut(p.expect(t, "CLOUD_TASKS_EMULATOR_HOST="), "=")
		return p
	}
	const parent = "projects/p/locations/l"
	acknowledged := map[string]*schedulerpb.Job{}
	for round := range 4 {
		p := run()
		client, err := scheduler.NewCloudSchedulerClient(t.Context(), option.WithEndpoint(host), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for job, err := range client.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: parent}).All() {
			if err != nil {
				t.Fatal(err)
			}
			if want := acknowledged[job.GetName()]; !proto.Equal(job, want) {
				t.Errorf("after kill %d: %v\nwant %v", round, job, want)
			}
			found++
		}
		if found != len(acknowledged) {
			t.Errorf("after kill %d: %d jobs, want %d", round, found, len(acknowledged))
		}
		for i := range 20 {
			job, err := client.CreateJob(t.Context(), &schedulerpb.CreateJobRequest{Parent: parent, Job: &schedulerpb.Job{
				Name: fmt.Sprintf("%s/jobs/j-%d-%d", parent, round, i), Schedule: "0 0 1 1 *",
				Target: &schedulerpb.Job_HttpTarget{HttpTarget: &schedulerpb.HttpTarget{Uri: "http://127.0.0.1:1/"}},
			}})
			if err == nil && i%2 == 0 {
				job, err = client.PauseJob(t.Context(), &schedulerpb.PauseJobRequest{Name: job.GetName()})
			}
			if err != nil {
				t.Fatal(err)
			}
			acknowledged[job.GetName()] = job
			if i%5 == 0 {
				if err := client.DeleteJob(t.Context(), &schedulerpb.DeleteJobRequest{Name: job.GetName()}); err != nil {
					t.Fatal(err)
				}
				delete(acknowledged, job.GetName())
			}
		}
		p.kill(t)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
