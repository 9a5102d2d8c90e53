package cronyaml

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/schedule"
	"github.com/latchwork/latchwork/emulator/internal/appyaml"
)

// Limits of the file and of the service.
const (
	maxJobs        = 1000
	maxURL         = 2083
	maxTimezone    = 100
	maxDescription = 499
	maxRetries     = 5
	maxDoublings   = 16
	maxName        = 100 // of what is made of a URL

	minDeadline = 15 * time.Second
	maxDeadline = 24*time.Hour + 15*time.Second
)

// What a deploy sets where there are retry parameters.
const (
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = time.Hour
	defaultDoublings  = 16
)

// A Job is an entry. Job.Name is its id alone.
type Job struct {
	*schedulerpb.Job
	Line int
}

// Parse reads the text of a cron.yaml. An error is an appyaml.Error.
func Parse(text []byte) ([]Job, error) {
	root, err := appyaml.Document(text)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, &appyaml.Error{Rule: "Empty cron configuration."}
	}
	top, err := appyaml.Fields(root, "the file", "cron", "application")
	if err != nil {
		return nil, err
	}
	list, err := top.List("cron")
	if err != nil {
		return nil, err
	}
	if len(list) > maxJobs {
		return nil, appyaml.Errorf(list[maxJobs], "there are %d jobs: at most %d are supported", len(list), maxJobs)
	}
	var jobs []Job
	taken := map[string]bool{}
	for _, n := range list {
		job, err := entry(n)
		if err != nil {
			return nil, err
		}
		job.Name = unused(nameOf(job.GetAppEngineHttpTarget().GetRelativeUri()), taken)
		jobs = append(jobs, Job{job, n.Line})
	}
	return jobs, nil
}

// nameOf makes a job's id of a URL.
func nameOf(url string) string {
	id := []byte("cron")
	for i := range len(url) {
		c := url[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
			id = append(id, c)
		case id[len(id)-1] != '-':
			id = append(id, '-')
		}
	}
	return strings.TrimRight(string(id[:min(len(id), maxName)]), "-")
}

// unused takes name, or that with the first number that makes it new.
func unused(name string, taken map[string]bool) string {
	id := name
	for n := 2; taken[id]; n++ {
		id = fmt.Sprintf("%s-%d", name, n)
	}
	taken[id] = true
	return id
}

func entry(n *yaml.Node) (*schedulerpb.Job, error) {
	e, err := appyaml.Fields(n, "a job", "url", "schedule", "timezone", "description", "target", "attempt_deadline", "retry_parameters")
	if err != nil {
		return nil, err
	}
	url, err := e.Need("url")
	if err != nil {
		return nil, err
	}
	if url[0] != '/' || len(url) > maxURL || strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, appyaml.Errorf(e.Get("url"), "url %q: must begin with / and have at most %d bytes, none of them a space", url, maxURL)
	}
	target := &schedulerpb.AppEngineHttpTarget{HttpMethod: schedulerpb.HttpMethod_GET, RelativeUri: url}
	job := &schedulerpb.Job{Target: &schedulerpb.Job_AppEngineHttpTarget{AppEngineHttpTarget: target}}
	if job.Schedule, err = e.Need("schedule"); err != nil {
		return nil, err
	}
	if _, err := schedule.ParseAppEngine(job.Schedule); err != nil {
		return nil, appyaml.Errorf(e.Get("schedule"), "%v", err)
	}
	if job.TimeZone, err = timezone(e); err != nil {
		return nil, err
	}
	if job.Description, err = e.Text("description"); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(job.Description) > maxDescription || strings.Contains(job.Description, "\n") {
		return nil, appyaml.Errorf(e.Get("description"), "description: must be one line of at most %d characters", maxDescription)
	}
	if target.AppEngineRouting, err = routing(e); err != nil {
		return nil, err
	}
	deadline, set, err := e.Age("attempt_deadline")
	if err != nil {
		return nil, err
	}
	if set {
		if deadline < minDeadline || deadline > maxDeadline {
			return nil, appyaml.Errorf(e.Get("attempt_deadline"), "attempt_deadline %v: must be between 15s and 24h15s", deadline)
		}
		job.AttemptDeadline = durationpb.New(deadline)
	}
	job.RetryConfig, err = retry(e)
	return job, err
}

func timezone(e *appyaml.Mapping) (string, error) {
	name, err := e.Text("timezone")
	if err != nil || name == "" {
		return "UTC", err
	}
	if len(name) > maxTimezone {
		return "", appyaml.Errorf(e.Get("timezone"), "timezone: must have at most %d bytes", maxTimezone)
	}
	if _, err := schedule.Zone(name); err != nil {
		return "", appyaml.Errorf(e.Get("timezone"), "timezone %q is unknown", name)
	}
	return name, nil
}

// routing reads service, version.service or, as older files have it,
// service:version.
func routing(e *appyaml.Mapping) (*schedulerpb.AppEngineRouting, error) {
	target, err := e.Text("target")
	if err != nil || target == "" {
		return nil, err
	}
	r := &schedulerpb.AppEngineRouting{Service: target}
	if version, service, ok := strings.Cut(target, "."); ok {
		r.Version, r.Service = version, service
	} else if service, version, ok := strings.Cut(target, ":"); ok {
		r.Version, r.Service = version, service
	}
	part := regexp.MustCompile(`^[a-z\d][a-z\d-]{0,99}$`)
	if !part.MatchString(r.Service) || r.Version != "" && !part.MatchString(r.Version) || len(r.Service) > 63 {
		return nil, appyaml.Errorf(e.Get("target"), "target %q: must be service or version.service, of lower-case letters, digits and hyphens", target)
	}
	return r, nil
}

func retry(e *appyaml.Mapping) (*schedulerpb.RetryConfig, error) {
	n := e.Get("retry_parameters")
	if n == nil {
		return nil, nil
	}
	r, err := appyaml.Fields(n, "retry_parameters", "job_retry_limit", "job_age_limit", "min_backoff_seconds", "max_backoff_seconds", "max_doublings")
	if err != nil {
		return nil, err
	}
	limit, set, err := r.Int("job_retry_limit", 0, 1<<31-1)
	if err != nil {
		return nil, err
	}
	if !set {
		limit = maxRetries
	}
	if limit > maxRetries {
		return nil, appyaml.Errorf(r.Get("job_retry_limit"), "Invalid Cron retry parameters: Cannot set retry limit to more than %d (currently set to %d).", maxRetries, limit)
	}
	age, set, err := r.Age("job_age_limit")
	if err != nil {
		return nil, err
	}
	if set && age <= 0 {
		return nil, appyaml.Errorf(r.Get("job_age_limit"), "Invalid Cron retry parameters: Job age limit must be greater than zero seconds.")
	}
	shortest, hasMin, err := r.Seconds("min_backoff_seconds")
	if err != nil {
		return nil, err
	}
	longest, hasMax, err := r.Seconds("max_backoff_seconds")
	if err != nil {
		return nil, err
	}
	switch {
	case hasMin && hasMax && longest < shortest:
		return nil, appyaml.Errorf(r.Get("min_backoff_seconds"), "Invalid Cron retry parameters: Min backoff sec must not be greater than than max backoff sec.")
	case !hasMin && !hasMax:
		shortest, longest = defaultMinBackoff, defaultMaxBackoff
	case !hasMin:
		shortest = min(defaultMinBackoff, longest)
	case !hasMax:
		longest = max(defaultMaxBackoff, shortest)
	}
	doublings, set, err := r.Int("max_doublings", 0, 1<<31-1)
	if err != nil {
		return nil, err
	}
	if !set {
		doublings = defaultDoublings
	}
	return &schedulerpb.RetryConfig{
		RetryCount: int32(limit), MaxRetryDuration: durationpb.New(age), MaxDoublings: int32(min(doublings, maxDoublings)),
		MinBackoffDuration: durationpb.New(shortest), MaxBackoffDuration: durationpb.New(longest),
	}, nil
}
