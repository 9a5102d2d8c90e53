package cloudtasks_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/scheduler/apiv1"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/internal/clock"
)

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
