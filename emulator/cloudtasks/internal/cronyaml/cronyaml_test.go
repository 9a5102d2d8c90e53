package cronyaml

import (
	"strings"
	"testing"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestParse(t *testing.T) {
	jobs, err := Parse([]byte(`
cron:
- description: "all of it"
  url: /tasks/summary?a=b
  schedule: every monday 09:00
  timezone: Australia/NSW
  target: v2.beta
  attempt_deadline: 5m
  retry_parameters:
    job_retry_limit: 2
    job_age_limit: 1d
    min_backoff_seconds: 2.5
    max_backoff_seconds: 20
    max_doublings: 5
- url: /tasks/summary?a=c
  schedule: every 24 hours
- url: /tasks/summary-a-c
  schedule: every 5 mins from 10:00 to 14:00
  target: worker:v1
  retry_parameters: {min_backoff_seconds: 4000}
- {url: /, schedule: "1 of jan 00:00", retry_parameters: {max_backoff_seconds: 0.05, job_retry_limit: 0}}
`))
	if err != nil {
		t.Fatal(err)
	}
	lines := []int{3, 15, 17, 21}
	for i, text := range []string{
		`{"name": "cron-tasks-summary-a-b", "description": "all of it", "schedule": "every monday 09:00", "timeZone": "Australia/NSW", "attemptDeadline": "300s",
		  "appEngineHttpTarget": {"httpMethod": "GET", "relativeUri": "/tasks/summary?a=b", "appEngineRouting": {"service": "beta", "version": "v2"}},
		  "retryConfig": {"retryCount": 2, "maxRetryDuration": "86400s", "minBackoffDuration": "2.5s", "maxBackoffDuration": "20s", "maxDoublings": 5}}`,
		`{"name": "cron-tasks-summary-a-c", "schedule": "every 24 hours", "timeZone": "UTC", "appEngineHttpTarget": {"httpMethod": "GET", "relativeUri": "/tasks/summary?a=c"}}`,
		`{"name": "cron-tasks-summary-a-c-2", "schedule": "every 5 mins from 10:00 to 14:00", "timeZone": "UTC",
		  "appEngineHttpTarget": {"httpMethod": "GET", "relativeUri": "/tasks/summary-a-c", "appEngineRouting": {"service": "worker", "version": "v1"}},
		  "retryConfig": {"retryCount": 5, "maxRetryDuration": "0s", "minBackoffDuration": "4000s", "maxBackoffDuration": "4000s", "maxDoublings": 16}}`,
		`{"name": "cron", "schedule": "1 of jan 00:00", "timeZone": "UTC", "appEngineHttpTarget": {"httpMethod": "GET", "relativeUri": "/"},
		  "retryConfig": {"maxRetryDuration": "0s", "minBackoffDuration": "0.05s", "maxBackoffDuration": "0.05s", "maxDoublings": 16}}`,
	} {
		want := new(schedulerpb.Job)
		if err := protojson.Unmarshal([]byte(text), want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, jobs[i].Job, protocmp.Transform()); diff != "" || jobs[i].Line != lines[i] {
			t.Errorf("job %d, line %d, want %d:\n%s", i, jobs[i].Line, lines[i], diff)
		}
	}
}

func TestErrors(t *testing.T) {
	job := func(fields string) string { return "cron:\n- url: /a\n  " + fields + "\n" }
	daily := func(fields string) string { return job("schedule: every day 00:00\n  " + fields) }
	for _, test := range []struct{ text, want string }{
		{"", "Empty cron configuration."},
		{"crons: []", `line 1: the file has an unknown field "crons": there is cron, application`},
		{"cron:\n- schedule: every day 00:00", "line 2: a job lacks its url"},
		{"cron:\n- {url: a, schedule: every day 00:00}", `line 2: url "a": must begin with / and have at most 2083 bytes, none of them a space`},
		{job("description: x"), "line 2: a job lacks its schedule"},
		{job("schedule: every hour"), `line 3: schedule "every hour": character 7: "h", expected "day" or a day of the week, or a number`},
		{job("schedule: '* * * * *'"), `line 3: schedule "* * * * *": character 1: "*", expected "every", an ordinal as in "1st", or a day of the month`},
		{daily("timezone: Nowhere/Land"), `line 4: timezone "Nowhere/Land" is unknown`},
		{daily("timezone: ../../etc/passwd"), `line 4: timezone "../../etc/passwd" is unknown`},
		{daily("description: " + strings.Repeat("x", 500)), "line 4: description: must be one line of at most 499 characters"},
		{daily("target: A"), `line 4: target "A": must be service or version.service, of lower-case letters, digits and hyphens`},
		{daily("attempt_deadline: 10s"), "line 4: attempt_deadline 10s: must be between 15s and 24h15s"},
		{daily("retry_parameters: {job_retry_limit: 6}"), "line 4: Invalid Cron retry parameters: Cannot set retry limit to more than 5 (currently set to 6)."},
		{daily("retry_parameters: {job_age_limit: 0s}"), "line 4: Invalid Cron retry parameters: Job age limit must be greater than zero seconds."},
		{daily("retry_parameters: {min_backoff_seconds: 5, max_backoff_seconds: 4}"), "line 4: Invalid Cron retry parameters: Min backoff sec must not be greater than than max backoff sec."},
		{daily("retry_parameters: 5"), `line 4: retry_parameters must have fields, as in "job_retry_limit: …"`},
	} {
		if _, err := Parse([]byte(test.text)); err == nil || err.Error() != test.want {
			t.Errorf("Parse(%.80q): %v\nwant %s", test.text, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("cron:\n- url: /a\n  schedule: every day 00:00\n  timezone: Asia/Tokyo\n  retry_parameters: {job_age_limit: 2d}"))
	f.Add([]byte("cron: [{url: /, schedule: every 5 mins, target: 'a:b', attempt_deadline: 1h}, {url: /-, schedule: every 5 mins}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		jobs, err := Parse(text)
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		names := map[string]bool{}
		for _, j := range jobs {
			if names[j.GetName()] || strings.Trim(j.GetName(), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
				t.Errorf("%q: the name %q is taken or bad", text, j.GetName())
			}
			names[j.GetName()] = true
		}
	})
}
