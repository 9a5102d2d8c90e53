package cloudtasks_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/scheduler/apiv1"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/internal/pipenet"
)

const job1 = location + "/jobs/j1"

// scheduler is Google's client, over gRPC.
func (e *env) scheduler() *scheduler.CloudSchedulerClient {
	e.t.Helper()
	client, err := scheduler.NewCloudSchedulerClient(context.Background(),
		option.WithEndpoint("passthrough:///"+address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) {
			return e.net.DialContext(ctx, "tcp", a)
		})),
		option.WithTelemetryDisabled(),
	)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { client.Close() })
	return client
}

// schedulerREST is the same, over REST.
func (e *env) schedulerREST() *scheduler.CloudSchedulerClient {
	e.t.Helper()
	transport := &http.Transport{DialContext: e.net.DialContext}
	e.t.Cleanup(transport.CloseIdleConnections)
	client, err := scheduler.NewCloudSchedulerRESTClient(context.Background(),
		option.WithEndpoint("http://"+address), option.WithHTTPClient(&http.Client{Transport: transport}), option.WithTelemetryDisabled())
	if err != nil {
		e.t.Fatal(err)
	}
	return client
}

// job reads a job that is written as JSON.
func job(t testing.TB, text string) *schedulerpb.Job {
	t.Helper()
	j := new(schedulerpb.Job)
	if err := protojson.Unmarshal([]byte(text), j); err != nil {
		t.Fatal(err)
	}
	return j
}

func createJob(t testing.TB, c *scheduler.CloudSchedulerClient, text string) *schedulerpb.Job {
	t.Helper()
	j, err := c.CreateJob(t.Context(), &schedulerpb.CreateJobRequest{Parent: location, Job: job(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func getJob(t testing.TB, c *scheduler.CloudSchedulerClient, name string) *schedulerpb.Job {
	t.Helper()
	j, err := c.GetJob(t.Context(), &schedulerpb.GetJobRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// wantJob compares a job with one that is written as JSON.
func wantJob(t testing.TB, got *schedulerpb.Job, text string) {
	t.Helper()
	if diff := cmp.Diff(job(t, text), got, protocmp.Transform()); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
}

// The life of a job by Google's Go client, over gRPC and over REST.
func TestJobs(t *testing.T) {
	for name, dial := range map[string]func(*env) *scheduler.CloudSchedulerClient{"gRPC": (*env).scheduler, "REST": (*env).schedulerREST} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01T00:00:00Z
				target := new(recorder)
				e := start(t, nil, target)
				c := dial(e)
				ctx := t.Context()
				j := createJob(t, c, `{"name": "`+job1+`", "schedule": "*/10 * * * *", "timeZone": "Europe/Berlin", "description": "d",
					"httpTarget": {"uri": "http://worker:80/cron", "body": "aGk=", "headers": {"X-A": "b"}}}`)
				const made = `"name": "projects/p/locations/us-central1/jobs/j1", "description": "d", "timeZone": "Europe/Berlin", "attemptDeadline": "180s",
					"userUpdateTime": "2000-01-01T00:00:00Z",
					"retryConfig": {"minBackoffDuration": "5s", "maxBackoffDuration": "3600s", "maxRetryDuration": "0s", "maxDoublings": 5},
					"httpTarget": {"uri": "http://worker:80/cron", "body": "aGk=", "httpMethod": "POST",
						"headers": {"X-A": "b", "User-Agent": "Google-Cloud-Scheduler", "Content-Type": "application/octet-stream"}}`
				wantJob(t, j, `{`+made+`, "schedule": "*/10 * * * *", "state": "ENABLED", "scheduleTime": "2000-01-01T00:10:00Z"}`)

				time.Sleep(25 * time.Minute)
				synctest.Wait()
				wantJob(t, getJob(t, c, job1), `{`+made+`, "schedule": "*/10 * * * *", "state": "ENABLED", "scheduleTime": "2000-01-01T00:30:00Z",
					"lastAttemptTime": "2000-01-01T00:20:00Z", "status": {}}`)
				if n := len(target.times()); n != 2 {
					t.Fatalf("%d requests, want 2", n)
				}
				h := target.headers()[1]
				for name, want := range map[string]string{
					"X-CloudScheduler": "true", "X-CloudScheduler-JobName": "j1", "X-CloudScheduler-ScheduleTime": "2000-01-01T01:20:00+01:00",
					"User-Agent": "Google-Cloud-Scheduler", "X-A": "b", "Content-Type": "application/octet-stream", "X-Appengine-Cron": "",
				} {
					if got := h.Get(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}

				j, err := c.PauseJob(ctx, &schedulerpb.PauseJobRequest{Name: job1})
				if err != nil || j.GetState() != schedulerpb.Job_PAUSED {
					t.Fatalf("PauseJob: %v, %v", j, err)
				}
				time.Sleep(time.Hour)
				if n := len(target.times()); n != 2 {
					t.Errorf("%d requests, want 2: the job is paused", n)
				}
				if _, err := c.RunJob(ctx, &schedulerpb.RunJobRequest{Name: job1}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := len(target.times()); n != 3 {
					t.Errorf("%d requests, want 3: RunJob runs paused jobs", n)
				}
				j, err = c.ResumeJob(ctx, &schedulerpb.ResumeJobRequest{Name: job1})
				if err != nil {
					t.Fatal(err)
				}
				wantJob(t, j, `{`+made+`, "schedule": "*/10 * * * *", "state": "ENABLED", "scheduleTime": "2000-01-01T01:30:00Z",
					"lastAttemptTime": "2000-01-01T01:25:00Z", "status": {}}`)

				// A day with its time is that of the zone; the rest stays.
				j, err = c.UpdateJob(ctx, &schedulerpb.UpdateJobRequest{
					Job:        &schedulerpb.Job{Name: job1, Schedule: "every day 03:00", Description: "not named"},
					UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"schedule"}},
				})
				if err != nil {
					t.Fatal(err)
				}
				wantJob(t, j, strings.Replace(`{`+made+`, "schedule": "every day 03:00", "state": "ENABLED", "scheduleTime": "2000-01-01T02:00:00Z",
					"lastAttemptTime": "2000-01-01T01:25:00Z", "status": {}}`, `"userUpdateTime": "2000-01-01T00:00:00Z"`, `"userUpdateTime": "2000-01-01T01:25:00Z"`, 1))

				if err := c.DeleteJob(ctx, &schedulerpb.DeleteJobRequest{Name: job1}); err != nil {
					t.Fatal(err)
				}
				if _, err := c.GetJob(ctx, &schedulerpb.GetJobRequest{Name: job1}); status.Code(err) != codes.NotFound && !strings.Contains(fmt.Sprint(err), "Job not found.") {
					t.Errorf("GetJob after DeleteJob: %v", err)
				}
				time.Sleep(48 * time.Hour)
				if n := len(target.times()); n != 3 {
					t.Errorf("%d requests, want 3: the job is deleted", n)
				}
			})
		})
	}
}

// A failed execution is attempted again by its rule, with the same schedule time,
// until the next one is due.
func TestJobRetries(t *testing.T) {
	for _, test := range []struct {
		name, job string
		script    []int
		want      []string // offset from the start, minute of the schedule time
	}{
		{"none by default", `"schedule": "0 * * * *"`, []int{500, 500}, []string{"1h0m0s 01:00", "2h0m0s 02:00", "3h0m0s 03:00"}},
		{"count", `"schedule": "0 */3 * * *", "retryConfig": {"retryCount": 3, "minBackoffDuration": "10s", "maxDoublings": 1}`,
			slices.Repeat([]int{404}, 4), []string{"3h0m0s 03:00", "3h0m10s 03:00", "3h0m30s 03:00", "3h1m10s 03:00"}},
		{"success ends it", `"schedule": "0 */3 * * *", "retryConfig": {"retryCount": 3}`, []int{302, 200}, []string{"3h0m0s 03:00", "3h0m5s 03:00"}},
		{"count and duration", `"schedule": "0 */3 * * *", "retryConfig": {"retryCount": 1, "maxRetryDuration": "60s", "minBackoffDuration": "25s", "maxBackoffDuration": "25s"}`,
			slices.Repeat([]int{500}, 9), []string{"3h0m0s 03:00", "3h0m25s 03:00", "3h0m50s 03:00", "3h1m15s 03:00"}},
		{"the next one is due", `"schedule": "*/10 * * * *", "retryConfig": {"retryCount": 5, "minBackoffDuration": "240s", "maxBackoffDuration": "240s"}`,
			slices.Repeat([]int{500}, 4), []string{"10m0s 00:10", "14m0s 00:10", "18m0s 00:10", "20m0s 00:20", "24m0s 00:20"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				target := &recorder{script: test.script}
				e := start(t, nil, target)
				c := e.scheduler()
				began := time.Now()
				createJob(t, c, `{"name": "`+job1+`", `+test.job+`, "httpTarget": {"uri": "http://worker:80/", "httpMethod": "GET"}}`)
				time.Sleep(5*time.Hour + time.Minute)
				synctest.Wait()
				var got []string
				for i, at := range target.times() {
					planned, err := time.Parse(time.RFC3339, target.headers()[i].Get("X-CloudScheduler-ScheduleTime"))
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, at.Sub(began).String()+" "+planned.Format("15:04"))
				}
				if got = got[:min(len(got), len(test.want))]; !slices.Equal(got, test.want) {
					t.Errorf("attempts at %q, want %q", got, test.want)
				}
			})
		})
	}
}

// An execution that takes longer than the schedule lets it delays the next one;
// they never overlap.
func TestJobsDontOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var running, most int
		var began []string
		first := time.Now()
		e := start(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			planned, _ := time.Parse(time.RFC3339, r.Header.Get("X-CloudScheduler-ScheduleTime"))
			mu.Lock()
			running++
			most = max(most, running)
			began = append(began, fmt.Sprintf("%v %s", time.Since(first), planned.Format("15:04")))
			mu.Unlock()
			time.Sleep(150 * time.Second)
			mu.Lock()
			running--
			mu.Unlock()
		}))
		c := e.scheduler()
		createJob(t, c, `{"name": "`+job1+`", "schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/", "httpMethod": "GET"}}`)
		time.Sleep(7 * time.Minute)
		// 00:02 was due while the first one ran and waited; what passed by then is
		// part of it.
		mu.Lock()
		if want := []string{"1m0s 00:01", "3m30s 00:02", "6m0s 00:04"}; !slices.Equal(began, want) || most != 1 {
			t.Errorf("began at %q, want %q; at most %d at a time", began, want, most)
		}
		mu.Unlock()
		// RunJob adds an attempt beside it.
		if _, err := c.RunJob(t.Context(), &schedulerpb.RunJobRequest{Name: job1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mu.Lock()
		if running != 2 {
			t.Errorf("%d are running, want 2", running)
		}
		mu.Unlock()
		finish(t, c)
	})
}

// "every N minutes" counts from the end of a run.
func TestJobIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var began []string
		first := time.Now()
		e := start(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			began = append(began, time.Since(first).String())
			mu.Unlock()
			time.Sleep(3 * time.Minute)
		}))
		c := e.scheduler()
		createJob(t, c, `{"name": "`+job1+`", "schedule": "every 5 minutes", "httpTarget": {"uri": "http://worker:80/", "httpMethod": "GET"}, "attemptDeadline": "300s"}`)
		time.Sleep(25 * time.Minute)
		mu.Lock()
		if want := []string{"5m0s", "13m0s", "21m0s"}; !slices.Equal(began, want) {
			t.Errorf("began at %q, want %q", began, want)
		}
		mu.Unlock()
		finish(t, c)
	})
}

// finish deletes the job and lets its attempts end.
func finish(t *testing.T, c *scheduler.CloudSchedulerClient) {
	t.Helper()
	if err := c.DeleteJob(t.Context(), &schedulerpb.DeleteJobRequest{Name: job1}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Minute)
}

// Targets that fail, hang or aren't there: the status says so.
func TestJobTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pubsub := new(recorder)
		var published, path string
		e := start(t, &cloudtasks.Options{PubSub: "pubsub:80", AppEngine: map[string]string{"": "app:80"}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/hang":
				<-r.Context().Done()
			case "/404":
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		e.serveHTTP("pubsub:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			published, path = string(body), r.URL.Path
			pubsub.ServeHTTP(w, r)
		}))
		app := &recorder{script: []int{503, 503, 503, 503, 500, 200}}
		var host string
		e.serveHTTP("app:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host = r.Method + " " + r.Host + r.URL.String()
			app.ServeHTTP(w, r)
		}))
		c := e.scheduler()
		run := func(text string) *schedulerpb.Job {
			t.Helper()
			j := createJob(t, c, strings.Replace(text, "{", `{"schedule": "0 0 1 1 *", `, 1))
			if _, err := c.RunJob(t.Context(), &schedulerpb.RunJobRequest{Name: j.GetName()}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			synctest.Wait()
			return getJob(t, c, j.GetName())
		}
		for _, test := range []struct {
			job  string
			code codes.Code
			text string
		}{
			{`{"httpTarget": {"uri": "http://worker:80/", "httpMethod": "GET"}}`, codes.OK, ""},
			{`{"httpTarget": {"uri": "http://worker:80/404"}}`, codes.NotFound, "HTTP status code 404"},
			{`{"httpTarget": {"uri": "http://worker:80/hang"}, "attemptDeadline": "15s"}`, codes.DeadlineExceeded, "no answer within 15s"},
			{`{"httpTarget": {"uri": "http://nobody:80/"}}`, codes.Unavailable, "connection refused"},
			{`{"pubsubTarget": {"topicName": "projects/p/topics/t", "data": "aGk=", "attributes": {"a": "b"}}}`, codes.OK, ""},
		} {
			j := run(test.job)
			if s := j.GetStatus(); s == nil || s.GetCode() != int32(test.code) || !strings.Contains(s.GetMessage(), test.text) {
				t.Errorf("%s: status %v, want %v %s", test.job, s, test.code, test.text)
			}
		}
		var message struct {
			Messages []struct{ Data, Attributes any }
		}
		if err := json.Unmarshal([]byte(published), &message); err != nil || path != "/v1/projects/p/topics/t:publish" ||
			fmt.Sprint(message.Messages) != "[{aGk= map[a:b]}]" {
			t.Errorf("published %s to %s", published, path)
		}

		// App Engine's own trouble is retried whatever the job says, and doesn't count.
		j := run(`{"appEngineHttpTarget": {"relativeUri": "/a?b=c", "httpMethod": "GET", "appEngineRouting": {"service": "s"}}}`)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(app.times()); n != 5 {
			t.Errorf("%d requests to App Engine, want 5: four times 503, and then 500, which isn't retried", n)
		}
		if host != "GET s.p.us-central1.r.appspot.com/a?b=c" {
			t.Errorf("request to App Engine: %s", host)
		}
		for name, want := range map[string]string{
			"X-Appengine-Cron": "true", "X-CloudScheduler": "true", "User-Agent": "AppEngine-Google; (+http://code.google.com/appengine)",
		} {
			if got := app.headers()[0].Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if j = getJob(t, c, j.GetName()); j.GetStatus().GetCode() != int32(codes.Internal) {
			t.Errorf("status %v, want the one of 500", j.GetStatus())
		}
	})
}

func TestJobsWithoutStandIns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, nil)
		c := e.scheduler()
		for i, test := range []struct{ target, text string }{
			{`"appEngineHttpTarget": {}`, `no address is configured for the App Engine service "default" (Options.AppEngine, --app-engine)`},
			{`"pubsubTarget": {"topicName": "projects/p/topics/t", "data": "aGk="}`, "there is no Pub/Sub here: PUBSUB_EMULATOR_HOST names no emulator"},
		} {
			name := fmt.Sprint(job1, i)
			createJob(t, c, `{"name": "`+name+`", "schedule": "* * * * *", `+test.target+`}`)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if s := getJob(t, c, name).GetStatus(); s.GetCode() != int32(codes.FailedPrecondition) || s.GetMessage() != test.text {
				t.Errorf("status %v, want %s", s, test.text)
			}
		}
	})
}

// Tokens of jobs can be verified like those of tasks.
func TestJobTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := new(recorder)
		e := start(t, nil, target)
		c := e.scheduler()
		for i, text := range []string{
			`"oidcToken": {"serviceAccountEmail": "a@p.iam.gserviceaccount.com"}`,
			`"oidcToken": {"serviceAccountEmail": "a@p.iam.gserviceaccount.com", "audience": "aud"}`,
			`"oauthToken": {"serviceAccountEmail": "a@p.iam.gserviceaccount.com"}`,
		} {
			createJob(t, c, fmt.Sprintf(`{"name": "%s%d", "schedule": "%d * * * *", "httpTarget": {"uri": "http://worker:80/x", "headers": {"authorization": "own"}, %s}}`, job1, i, i+1, text))
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i, want := range []string{"http://worker:80/x", "aud"} {
			if got := claims(t, target.headers()[i].Get("Authorization"))["aud"]; got != want {
				t.Errorf("audience %v, want %v", got, want)
			}
		}
		if got := target.headers()[2].Values("Authorization"); len(got) != 1 || !strings.HasPrefix(got[0], "Bearer ya29.") {
			t.Errorf("access token %q", got)
		}
	})
}

// claims reads a token without checking it; identity_test.go checks them.
func claims(t *testing.T, authorization string) map[string]any {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(authorization, "Bearer "), ".")
	if len(parts) != 3 {
		t.Fatalf("no token: %q", authorization)
	}
	var claims map[string]any
	if err := json.Unmarshal(decode(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// Every refusal, over gRPC and over REST: code and text.
func TestJobErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, nil)
		c, rest := e.scheduler(), e.schedulerREST()
		createJob(t, c, `{"name": "`+job1+`", "schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/"}}`)
		const ok = `"schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/"}`
		missing := location + "/jobs/none"
		create := func(parent, text string) func(*scheduler.CloudSchedulerClient) error {
			return func(c *scheduler.CloudSchedulerClient) error {
				_, err := c.CreateJob(t.Context(), &schedulerpb.CreateJobRequest{Parent: parent, Job: job(t, text)})
				return err
			}
		}
		update := func(text string, paths ...string) func(*scheduler.CloudSchedulerClient) error {
			return func(c *scheduler.CloudSchedulerClient) error {
				r := &schedulerpb.UpdateJobRequest{Job: job(t, text), UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}}
				_, err := c.UpdateJob(t.Context(), r)
				return err
			}
		}
		http := func(fields string) string { return `{"schedule": "* * * * *", "httpTarget": {` + fields + `}}` }
		ae := func(fields string) string {
			return `{"schedule": "* * * * *", "appEngineHttpTarget": {` + fields + `}}`
		}
		retry := func(fields string) string { return `{` + ok + `, "retryConfig": {` + fields + `}}` }
		for _, test := range []struct {
			name string
			call func(*scheduler.CloudSchedulerClient) error
			code codes.Code
			text string
		}{
			{"exists", create(location, `{"name": "`+job1+`", `+ok+`}`), codes.AlreadyExists, "Job projects/p/locations/us-central1/jobs/j1 already exists."},
			{"name", create(location, `{"name": "`+location+`/jobs/a b", `+ok+`}`), codes.InvalidArgument, `Job name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>".`},
			{"long name", create(location, `{"name": "`+location+`/jobs/`+strings.Repeat("x", 501)+`", `+ok+`}`), codes.InvalidArgument, `Job name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>".`},
			{"other parent", create("projects/p/locations/l2", `{"name": "`+job1+`", `+ok+`}`), codes.InvalidArgument, "projects/p/locations/us-central1/jobs/j1 must begin with projects/p/locations/l2."},
			{"schedule", create(location, `{"schedule": "every hour", "httpTarget": {"uri": "http://worker:80/"}}`), codes.InvalidArgument, "Schedule or time zone is invalid."},
			{"no schedule", create(location, `{"httpTarget": {"uri": "http://worker:80/"}}`), codes.InvalidArgument, "Schedule or time zone is invalid."},
			{"time zone", create(location, `{"timeZone": "Mars/Base", `+ok+`}`), codes.InvalidArgument, "Schedule or time zone is invalid."},
			{"description", create(location, `{"description": "`+strings.Repeat("ä", 501)+`", `+ok+`}`), codes.InvalidArgument, "Job.description must not contain more than 500 characters."},
			{"target", create(location, `{"schedule": "* * * * *"}`), codes.InvalidArgument, "Job.target is required: httpTarget, appEngineHttpTarget or pubsubTarget."},
			{"uri", create(location, http(`"uri": "ftp://x"`)), codes.InvalidArgument, "HttpTarget.uri must start with 'http://' or 'https://'."},
			{"no uri", create(location, http(``)), codes.InvalidArgument, "HttpTarget.uri is required."},
			{"long uri", create(location, http(`"uri": "http://`+strings.Repeat("x", 2080)+`"`)), codes.InvalidArgument, "HttpTarget.uri must have at most 2083 characters, not 2087."},
			{"host", create(location, http(`"uri": "http:///x"`)), codes.InvalidArgument, `HttpTarget.uri "http:///x" is not a valid URL.`},
			{"body", create(location, http(`"uri": "http://x", "httpMethod": "GET", "body": "aGk="`)), codes.InvalidArgument, "HttpTarget.body is allowed with the methods POST, PUT, PATCH only, not with GET."},
			{"header", create(location, http(`"uri": "http://x", "headers": {"a b": "c"}`)), codes.InvalidArgument, `HttpTarget.headers: "a b" is not the name of a header.`},
			{"header value", create(location, http(`"uri": "http://x", "headers": {"a": "b\r\nc"}`)), codes.InvalidArgument, `HttpTarget.headers: the value of "a" contains a character that headers can't have.`},
			{"headers", create(location, http(`"uri": "http://x", "headers": {"a": "`+strings.Repeat("x", 80<<10)+`"}`)), codes.InvalidArgument, "HttpTarget.headers: the total size must be less than 80KB, not 81953 bytes."},
			{"token", create(location, http(`"uri": "http://x", "oidcToken": {"audience": "a"}`)), codes.InvalidArgument, "OidcToken.serviceAccountEmail must be set."},
			{"deadline", create(location, `{"attemptDeadline": "14s", `+ok+`}`), codes.InvalidArgument, "Job.attemptDeadline must be between [15s, 30m]."},
			{"long deadline", create(location, `{"attemptDeadline": "1801s", `+ok+`}`), codes.InvalidArgument, "Job.attemptDeadline must be between [15s, 30m]."},
			{"App Engine's deadline", create(location, `{"attemptDeadline": "86416s", "schedule": "* * * * *", "appEngineHttpTarget": {}}`), codes.InvalidArgument, "Job.attemptDeadline must be between [15s, 24h15s]."},
			{"relative URI", create(location, ae(`"relativeUri": "x"`)), codes.InvalidArgument, "AppEngineHttpTarget.relativeUri must begin with '/'."},
			{"space", create(location, ae(`"relativeUri": "/a b"`)), codes.InvalidArgument, "AppEngineHttpTarget.relativeUri must not contain spaces."},
			{"App Engine's methods", create(location, ae(`"httpMethod": "PATCH"`)), codes.InvalidArgument, "AppEngineHttpTarget.httpMethod: PATCH and OPTIONS are not permitted."},
			{"service", create(location, ae(`"appEngineRouting": {"service": "a/b"}`)), codes.InvalidArgument, `AppEngineRouting "a/b" can contain only letters, numbers, hyphens and underscores, at most 100.`},
			{"topic", create(location, `{"schedule": "* * * * *", "pubsubTarget": {"topicName": "t", "data": "aGk="}}`), codes.InvalidArgument, `PubsubTarget.topicName must be formatted: "projects/<PROJECT_ID>/topics/<TOPIC_ID>".`},
			{"other project", create(location, `{"schedule": "* * * * *", "pubsubTarget": {"topicName": "projects/q/topics/t", "data": "aGk="}}`), codes.InvalidArgument, "PubsubTarget.topicName: the topic must be in the same project as the job, 'p', not in 'q'."},
			{"empty message", create(location, `{"schedule": "* * * * *", "pubsubTarget": {"topicName": "projects/p/topics/t"}}`), codes.InvalidArgument, "PubsubTarget must have either non-empty data, or at least one attribute."},
			{"retries", create(location, retry(`"retryCount": 6`)), codes.InvalidArgument, "RetryConfig.retryCount must be between [0, 5], not 6."},
			{"backoff", create(location, retry(`"minBackoffDuration": "20s", "maxBackoffDuration": "10s"`)), codes.InvalidArgument, "RetryConfig.minBackoffDuration must be less than or equal to RetryConfig.maxBackoffDuration."},
			{"negative", create(location, retry(`"maxRetryDuration": "-1s"`)), codes.InvalidArgument, "RetryConfig.maxRetryDuration cannot be negative."},
			{"doublings", create(location, retry(`"maxDoublings": -1`)), codes.InvalidArgument, "RetryConfig.maxDoublings cannot be negative."},
			{"mask", update(`{"name": "`+job1+`"}`, "time_zone", "http_target.url"), codes.InvalidArgument, "Invalid mask for Job: http_target.url"},
			{"update missing", update(`{"name": "`+missing+`"}`, "description"), codes.NotFound, "Job not found."},
			{"update to nothing", update(`{"name": "`+job1+`"}`, "schedule"), codes.InvalidArgument, "Schedule or time zone is invalid."},
			{"get missing", func(c *scheduler.CloudSchedulerClient) error {
				_, err := c.GetJob(t.Context(), &schedulerpb.GetJobRequest{Name: missing})
				return err
			}, codes.NotFound, "Job not found."},
			{"delete missing", func(c *scheduler.CloudSchedulerClient) error {
				return c.DeleteJob(t.Context(), &schedulerpb.DeleteJobRequest{Name: missing})
			}, codes.NotFound, "Job not found."},
			{"run missing", func(c *scheduler.CloudSchedulerClient) error {
				_, err := c.RunJob(t.Context(), &schedulerpb.RunJobRequest{Name: missing})
				return err
			}, codes.NotFound, "Job not found."},
			{"resume enabled", func(c *scheduler.CloudSchedulerClient) error {
				_, err := c.ResumeJob(t.Context(), &schedulerpb.ResumeJobRequest{Name: job1})
				return err
			}, codes.FailedPrecondition, "Job must be in state PAUSED to be resumed; it is ENABLED."},
			{"page token", func(c *scheduler.CloudSchedulerClient) error {
				_, err := c.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: location, PageToken: "x"}).Next()
				return err
			}, codes.InvalidArgument, "The page token is malformed."},
			{"page size", func(c *scheduler.CloudSchedulerClient) error {
				_, err := c.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: location, PageSize: -1}).Next()
				return err
			}, codes.InvalidArgument, "Page size -1 cannot be negative."},
		} {
			for dialect, client := range map[string]*scheduler.CloudSchedulerClient{"gRPC": c, "REST": rest} {
				if code, text := refusal(test.call(client)); code != test.code || text != test.text {
					t.Errorf("%s over %s: %v %s\nwant %v %s", test.name, dialect, code, text, test.code, test.text)
				}
			}
		}
		if _, err := c.CreateJob(t.Context(), &schedulerpb.CreateJobRequest{Parent: "p", Job: new(schedulerpb.Job)}); status.Convert(err).Message() != `Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>".` {
			t.Errorf("bad parent: %v", err)
		}
		// What is wrong with a schedule is in the details.
		err := create(location, `{"schedule": "every hour", "httpTarget": {"uri": "http://worker:80/"}}`)(c)
		var why string
		for _, d := range status.Convert(err).Details() {
			if bad, ok := d.(*errdetails.BadRequest); ok {
				why = bad.GetFieldViolations()[0].GetField() + ": " + bad.GetFieldViolations()[0].GetDescription()
			}
		}
		if want := `job.schedule: schedule "every hour": character 7: "h", expected "day" or a day of the week, or a number`; why != want {
			t.Errorf("details %q, want %q", why, want)
		}
	})
}

// refusal is the code and the text of an error, by whatever dialect it came.
func refusal(err error) (codes.Code, string) {
	if e, ok := errors.AsType[*googleapi.Error](err); ok {
		var body struct{ Error struct{ Status codes.Code } }
		if err := json.Unmarshal([]byte(e.Body), &body); err != nil {
			return codes.Unknown, err.Error()
		}
		return body.Error.Status, e.Message
	}
	return status.Code(err), status.Convert(err).Message()
}

// Masks change what they name.
func TestJobUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, nil)
		c := e.scheduler()
		createJob(t, c, `{"name": "`+job1+`", "schedule": "* * * * *", "description": "d", "retryConfig": {"retryCount": 2, "maxDoublings": 3},
			"httpTarget": {"uri": "http://worker:80/", "httpMethod": "PUT", "body": "aGk=", "headers": {"A": "b"}, "oidcToken": {"serviceAccountEmail": "e", "audience": "a"}}}`)
		update := func(text string, paths ...string) *schedulerpb.Job {
			t.Helper()
			j := job(t, text)
			j.Name = job1
			j, err := c.UpdateJob(t.Context(), &schedulerpb.UpdateJobRequest{Job: j, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		j := update(`{"retryConfig": {"maxDoublings": 0}, "state": "PAUSED"}`, "retry_config.max_doublings", "state", "name")
		if r := j.GetRetryConfig(); r.GetMaxDoublings() != 0 || r.GetRetryCount() != 2 || j.GetState() != schedulerpb.Job_ENABLED {
			t.Errorf("after doublings: %v", j)
		}
		j = update(`{"description": "e"}`, "description")
		if j.GetRetryConfig().GetMaxDoublings() != 0 || j.GetDescription() != "e" {
			t.Errorf("0 doublings are lost by another update: %v", j)
		}
		j = update(`{}`, "http_target.oidc_token.service_account_email", "http_target.oidc_token.audience", "http_target.oauth_token.scope")
		if j.GetHttpTarget().GetAuthorizationHeader() != nil || j.GetHttpTarget().GetHttpMethod() != schedulerpb.HttpMethod_PUT {
			t.Errorf("after the token: %v", j)
		}
		j = update(`{"httpTarget": {"headers": {"C": "d"}}}`, "http_target.headers")
		if h := j.GetHttpTarget().GetHeaders(); len(h) != 3 || h["C"] != "d" {
			t.Errorf("headers %v", h)
		}
		j = update(`{"appEngineHttpTarget": {"relativeUri": "/x"}, "schedule": "1 * * * *"}`) // without a mask: everything
		wantJob(t, j, `{"name": "`+job1+`", "schedule": "1 * * * *", "timeZone": "UTC", "state": "ENABLED",
			"userUpdateTime": "2000-01-01T00:00:00Z", "scheduleTime": "2000-01-01T00:01:00Z",
			"retryConfig": {"minBackoffDuration": "5s", "maxBackoffDuration": "3600s", "maxRetryDuration": "0s", "maxDoublings": 5},
			"appEngineHttpTarget": {"relativeUri": "/x", "httpMethod": "POST", "appEngineRouting": {"host": "p.us-central1.r.appspot.com"},
				"headers": {"User-Agent": "AppEngine-Google; (+http://code.google.com/appengine)"}}}`)
		j = update(`{"pubsubTarget": {"topicName": "projects/p/topics/t", "data": "aGk="}}`, "app_engine_http_target", "pubsub_target")
		if j.GetPubsubTarget() == nil || j.GetAttemptDeadline() != nil {
			t.Errorf("after another target: %v", j)
		}
	})
}

func TestJobPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, nil, nil)
		c := e.scheduler()
		var want []string
		for i := range 25 {
			name := fmt.Sprintf("%s/jobs/j%02d", location, i)
			createJob(t, c, `{"name": "`+name+`", "schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/"}}`)
			want = append(want, name)
		}
		if j := createJob(t, c, `{"schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/"}}`); !strings.HasPrefix(j.GetName(), location+"/jobs/") {
			t.Errorf("a job without a name is called %s", j.GetName())
		} else if err := c.DeleteJob(t.Context(), &schedulerpb.DeleteJobRequest{Name: j.GetName()}); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int32{0, 1, 7, 25, 9999} {
			jobs := c.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: location, PageSize: size})
			var got []string
			for j, err := jobs.Next(); err != iterator.Done; j, err = jobs.Next() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, j.GetName())
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d: %q", size, got)
			}
		}
		first := c.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: location, PageSize: 1})
		if _, err := first.Next(); err != nil {
			t.Fatal(err)
		}
		token := first.PageInfo().Token
		if _, err := c.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: "projects/p/locations/other", PageToken: token}).Next(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a token of another list: %v", err)
		}
		time.Sleep(2*time.Hour + time.Second)
		if _, err := c.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: location, PageToken: token}).Next(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("an old token: %v", err)
		}
	})
}

// Jobs, their state and what was going on survive the end of the process.
func TestJobsSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		hang := true
		target := new(recorder)
		e := start(t, &cloudtasks.Options{Dir: dir}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			target.ServeHTTP(w, r)
			if r.URL.Path == "/hang" && hang {
				<-r.Context().Done()
			}
		}))
		c := e.scheduler()
		createJob(t, c, `{"name": "`+location+`/jobs/hang", "schedule": "0 1 * * *", "httpTarget": {"uri": "http://worker:80/hang"}, "attemptDeadline": "1800s"}`)
		createJob(t, c, `{"name": "`+location+`/jobs/hourly", "schedule": "30 * * * *", "httpTarget": {"uri": "http://worker:80/hourly"}}`)
		createJob(t, c, `{"name": "`+location+`/jobs/paused", "schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/paused"}}`)
		createJob(t, c, `{"name": "`+location+`/jobs/gone", "schedule": "* * * * *", "httpTarget": {"uri": "http://worker:80/gone"}}`)
		if _, err := c.PauseJob(t.Context(), &schedulerpb.PauseJobRequest{Name: location + "/jobs/paused"}); err != nil {
			t.Fatal(err)
		}
		if err := c.DeleteJob(t.Context(), &schedulerpb.DeleteJobRequest{Name: location + "/jobs/gone"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		before := getJob(t, c, location+"/jobs/hourly")
		if err := e.server.Close(); err != nil {
			t.Fatal(err)
		}
		hang = false
		time.Sleep(90 * time.Minute) // 01:30 and 02:30 pass
		restart(t, e, &cloudtasks.Options{Dir: dir, Transport: &http.Transport{DialContext: e.net.DialContext}})
		synctest.Wait()
		c = e.scheduler()
		if got := len(target.times()); got != 3 {
			t.Errorf("%d requests, want 3: 00:30, 01:00, and the latter again", got)
		}
		after := getJob(t, c, location+"/jobs/hourly")
		want := proto.CloneOf(before)
		if want.ScheduleTime = after.GetScheduleTime(); !proto.Equal(want, after) {
			t.Errorf("a job after the restart:\n%v\nbefore:\n%v", after, before)
		}
		if got := getJob(t, c, location+"/jobs/paused").GetState(); got != schedulerpb.Job_PAUSED {
			t.Errorf("the paused job is %v", got)
		}
		if s := getJob(t, c, location+"/jobs/hang").GetStatus(); s == nil || s.GetCode() != 0 {
			t.Errorf("the job that was in flight has the status %v", s)
		}
		if _, err := c.GetJob(t.Context(), &schedulerpb.GetJobRequest{Name: location + "/jobs/gone"}); status.Code(err) != codes.NotFound {
			t.Errorf("the deleted job: %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := len(target.times()); got != 4 {
			t.Errorf("%d requests, want 4: times that passed are not made up for, and then comes 03:30", got)
		}
	})
}

// restart opens another server in the place of one that is closed.
func restart(t *testing.T, e *env, o *cloudtasks.Options) {
	t.Helper()
	l, err := e.net.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	server, err := cloudtasks.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-done
	})
}

// A clock that is advanced runs what falls due, once.
func TestJobsFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := new(recorder)
		c := clock.New()
		e := start(t, &cloudtasks.Options{Clock: c}, target)
		s := e.scheduler()
		createJob(t, s, `{"name": "`+job1+`", "schedule": "0 9 * * *", "httpTarget": {"uri": "http://worker:80/"}}`)
		c.Freeze()
		time.Sleep(48 * time.Hour)
		if n := len(target.times()); n != 0 {
			t.Errorf("%d requests while the clock stood still", n)
		}
		if err := c.Advance(24 * time.Hour); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(target.times()); n != 1 || target.headers()[0].Get("X-CloudScheduler-ScheduleTime") != "2000-01-01T09:00:00Z" {
			t.Fatalf("%d requests after a day, want 1: %v", n, target.headers())
		}
		if err := c.Advance(100 * 24 * time.Hour); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(target.times()); n != 2 {
			t.Errorf("%d requests after a hundred days, want 2", n)
		}
		wantJob(t, getJob(t, s, job1), `{"name": "`+job1+`", "schedule": "0 9 * * *", "timeZone": "UTC", "state": "ENABLED", "attemptDeadline": "180s",
			"userUpdateTime": "2000-01-01T00:00:00Z", "scheduleTime": "2000-04-11T09:00:00Z", "lastAttemptTime": "2000-04-11T00:00:00Z", "status": {},
			"retryConfig": {"minBackoffDuration": "5s", "maxBackoffDuration": "3600s", "maxRetryDuration": "0s", "maxDoublings": 5},
			"httpTarget": {"uri": "http://worker:80/", "httpMethod": "POST", "headers": {"User-Agent": "Google-Cloud-Scheduler"}}}`)
	})
}

func decode(t *testing.T, part string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever a body says, it is refused or it makes a job that can be read, run and
// deleted again.
func FuzzJobs(f *testing.F) {
	f.Add(`{"name": "` + job1 + `", "schedule": "*/10 * * * *", "httpTarget": {"uri": "http://worker:80/", "body": "aGk=", "headers": {"A": "b"}}}`)
	f.Add(`{"schedule": "every 5 mins", "timeZone": "Asia/Tokyo", "appEngineHttpTarget": {"relativeUri": "/a?b#c", "httpMethod": 3}, "retryConfig": {"retryCount": 5}}`)
	f.Add(`{"schedule": "1 of jan 00:00", "pubsubTarget": {"topicName": "projects/p/topics/t", "data": "aGk="}, "attemptDeadline": "1.5s"}`)
	f.Add(`{"schedule": "* * * * *", "httpTarget": {"uri": "http://[::1]:80/%zz", "oidcToken": {}}, "userUpdateTime": "2000-01-01T00:00:00Z"}`)
	server, err := cloudtasks.New(&cloudtasks.Options{Transport: refuse{}})
	if err != nil {
		f.Fatal(err)
	}
	network := pipenet.New()
	l, err := network.Listen(address)
	if err != nil {
		f.Fatal(err)
	}
	go server.Serve(l)
	f.Cleanup(func() { server.Close() })
	client := &http.Client{Transport: &http.Transport{DialContext: network.DialContext}}
	call := func(t *testing.T, method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/v1/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	f.Fuzz(func(t *testing.T, body string) {
		status, text := call(t, "POST", location+"/jobs", body)
		if status >= 500 {
			t.Fatalf("%d: %s", status, text)
		}
		if status != http.StatusOK {
			return
		}
		var made struct{ Name string }
		if err := json.Unmarshal([]byte(text), &made); err != nil {
			t.Fatal(err)
		}
		for _, next := range []struct{ method, verb string }{{"GET", ""}, {"POST", ":run"}, {"POST", ":pause"}, {"DELETE", ""}} {
			if status, text := call(t, next.method, made.Name+next.verb, ""); status != http.StatusOK {
				t.Fatalf("%s %s%s: %d: %s", next.method, made.Name, next.verb, status, text)
			}
		}
	})
}

// refuse is a transport to nowhere.
type refuse struct{}

func (refuse) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}
