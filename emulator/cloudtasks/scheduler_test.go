package cloudtasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
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
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
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
