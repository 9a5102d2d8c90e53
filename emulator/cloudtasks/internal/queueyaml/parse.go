package queueyaml

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/latchwork/latchwork/emulator/internal/appyaml"
)

// Limits of the file and of the service.
const (
	maxQueues     = 1000
	maxName       = 100
	maxRate       = 500
	maxBucket     = 500
	maxConcurrent = 5000
)

// What a deploy sets where the file says nothing.
const (
	defaultBucket     = 5
	defaultConcurrent = 1000
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = time.Hour
	defaultDoublings  = 16
)

// A File is a queue.yaml.
type File struct {
	Queues       []Queue
	ResumePaused bool // queues that are listed and paused go on
}

// A Queue is an entry, with what a deploy makes of what it leaves out.
type Queue struct {
	Name string
	Line int
	Pull bool

	Rate             float64 // a second; 0 pauses a push queue
	Bucket           int
	Concurrent       int
	Version, Service string // of the target; "": none

	MaxAttempts            int // -1: no limit
	MaxRetryDuration       time.Duration
	MinBackoff, MaxBackoff time.Duration
	MaxDoublings           int
}

// Parse reads the text of a queue.yaml. An error is an appyaml.Error.
func Parse(text []byte) (*File, error) {
	root, err := appyaml.Document(text)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, &appyaml.Error{Rule: "Empty queue configuration."}
	}
	top, err := appyaml.Fields(root, "the file", "queue", "total_storage_limit", "resume_paused_queues", "application")
	if err != nil {
		return nil, err
	}
	f := new(File)
	if f.ResumePaused, err = top.Bool("resume_paused_queues", true); err != nil {
		return nil, err
	}
	if err := checkStorage(top); err != nil {
		return nil, err
	}
	list, err := top.List("queue")
	if err != nil {
		return nil, err
	}
	if len(list) > maxQueues {
		return nil, appyaml.Errorf(list[maxQueues], "there are %d queues: at most %d are supported", len(list), maxQueues)
	}
	lines := map[string]int{}
	for _, n := range list {
		q, err := entry(n)
		if err != nil {
			return nil, err
		}
		if first, twice := lines[q.Name]; twice {
			return nil, appyaml.Errorf(n, "the queue %q is there twice, first in line %d", q.Name, first)
		}
		lines[q.Name] = q.Line
		f.Queues = append(f.Queues, q)
	}
	return f, nil
}

// checkStorage reads N[BKMGT].
func checkStorage(top *appyaml.Mapping) error {
	limit, err := top.Text("total_storage_limit")
	if err != nil || limit == "" {
		return err
	}
	if number, err := strconv.ParseFloat(strings.TrimRight(limit, "BKMGT"), 64); err != nil || !(number >= 0) ||
		len(strings.TrimRight(limit, "BKMGT")) < len(limit)-1 {
		return appyaml.Errorf(top.Get("total_storage_limit"), "Total Storage Limit %q is invalid: must be a number, with B, K, M, G or T after it", limit)
	}
	return nil
}

func entry(n *yaml.Node) (q Queue, err error) {
	e, err := appyaml.Fields(n, "a queue", "name", "rate", "mode", "bucket_size", "max_concurrent_requests", "retry_parameters", "acl", "target")
	if err != nil {
		return q, err
	}
	q.Line = e.Line()
	if q.Name, err = e.Need("name"); err != nil {
		return q, err
	}
	if !validName(q.Name) {
		return q, appyaml.Errorf(e.Get("name"), "queue name %q: must be 1 to %d letters, digits and hyphens", q.Name, maxName)
	}
	mode, err := e.Text("mode")
	if err != nil {
		return q, err
	}
	switch mode {
	case "", "push":
	case "pull":
		q.Pull = true
	default:
		return q, appyaml.Errorf(e.Get("mode"), "mode %q: must be push or pull", mode)
	}
	if err := checkACL(e); err != nil {
		return q, err
	}
	if q.Pull {
		return q, q.readPull(e)
	}
	return q, q.readPush(e)
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// checkACL reads who may use a pull queue; an emulator asks nobody.
func checkACL(e *appyaml.Mapping) error {
	list, err := e.List("acl")
	if err != nil {
		return err
	}
	for _, n := range list {
		who, err := appyaml.Fields(n, "an acl entry", "user_email", "writer_email")
		if err != nil {
			return err
		}
		for _, field := range []string{"user_email", "writer_email"} {
			if _, err := who.Text(field); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *Queue) readPush(e *appyaml.Mapping) (err error) {
	text, err := e.Text("rate")
	if err != nil {
		return err
	}
	if text == "" {
		return &appyaml.Error{Line: q.Line, Rule: "Refill rate must be specified for push-based queue."}
	}
	var ok bool
	if q.Rate, ok = parseRate(text); !ok {
		return appyaml.Errorf(e.Get("rate"), "Rate %q is invalid: must be 0, or a number and /s, /m, /h or /d, as in 5/s.", text)
	}
	if q.Rate > maxRate {
		return appyaml.Errorf(e.Get("rate"), "Refill rate must not exceed %d per second (is %.1f).", maxRate, q.Rate)
	}
	bucket, _, err := e.Int("bucket_size", math.MinInt32, math.MaxInt32)
	switch {
	case err != nil:
		return err
	case bucket < 0:
		return appyaml.Errorf(e.Get("bucket_size"), "bucket_size %d: must not be negative", bucket)
	case bucket > maxBucket:
		return appyaml.Errorf(e.Get("bucket_size"), "Error updating queue %q: Maximum bucket size is %d.", q.Name, maxBucket)
	case bucket == 0:
		bucket = defaultBucket
	}
	q.Bucket = bucket
	concurrent, _, err := e.Int("max_concurrent_requests", math.MinInt32, math.MaxInt32)
	if err != nil {
		return err
	}
	if concurrent == 0 {
		concurrent = defaultConcurrent
	}
	q.Concurrent = min(max(concurrent, 1), maxConcurrent)
	if err := q.readTarget(e); err != nil {
		return err
	}
	return q.readRetry(e)
}

// parseRate reads 0 or N/unit, as so many a second.
func parseRate(s string) (float64, bool) {
	if s == "0" {
		return 0, true
	}
	number, unit, ok := strings.Cut(s, "/")
	if !ok || len(unit) != 1 || appyaml.UnitSeconds(unit[0]) == 0 || strings.Trim(number, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, false
	}
	const digits = 1e9 // of a second, as the CLI rounds
	return math.Round(n/appyaml.UnitSeconds(unit[0])*digits) / digits, true
}

func (q *Queue) readTarget(e *appyaml.Mapping) error {
	target, err := e.Text("target")
	if err != nil || target == "" {
		return err
	}
	version, service, ok := strings.Cut(target, ".")
	if !ok {
		version, service = "", target
	}
	matched := func(s string, most string) bool {
		return regexp.MustCompile(`^[a-z\d][a-z\d-]{0,` + most + `}$`).MatchString(s)
	}
	if !matched(service, "62") || ok && !matched(version, "99") {
		return appyaml.Errorf(e.Get("target"), "target %q: must be service or version.service, of lower-case letters, digits and hyphens", target)
	}
	q.Version, q.Service = version, service
	return nil
}

func (q *Queue) readRetry(e *appyaml.Mapping) error {
	q.MaxAttempts, q.MaxDoublings = -1, defaultDoublings
	q.MinBackoff, q.MaxBackoff = defaultMinBackoff, defaultMaxBackoff
	n := e.Get("retry_parameters")
	if n == nil {
		return nil
	}
	r, err := appyaml.Fields(n, "retry_parameters", "task_retry_limit", "task_age_limit", "min_backoff_seconds", "max_backoff_seconds", "max_doublings")
	if err != nil {
		return err
	}
	if err := q.readRetryLimit(r); err != nil {
		return err
	}
	age, set, err := r.Age("task_age_limit")
	if err != nil {
		return err
	}
	if set && age <= 0 {
		return appyaml.Errorf(r.Get("task_age_limit"), "Task age limit must be greater than zero.")
	}
	q.MaxRetryDuration = age
	shortest, hasMin, err := r.Seconds("min_backoff_seconds")
	if err != nil {
		return err
	}
	longest, hasMax, err := r.Seconds("max_backoff_seconds")
	if err != nil {
		return err
	}
	if hasMin && hasMax && longest < shortest {
		return appyaml.Errorf(r.Get("min_backoff_seconds"), "Min backoff sec must not be greater than than max backoff sec.")
	}
	if hasMin {
		q.MinBackoff = shortest
		q.MaxBackoff = max(q.MaxBackoff, shortest)
	}
	if hasMax {
		q.MaxBackoff = longest
		q.MinBackoff = min(q.MinBackoff, longest)
	}
	doublings, set, err := r.Int("max_doublings", math.MinInt32, math.MaxInt32)
	if err != nil {
		return err
	}
	if set {
		if doublings < 0 {
			return appyaml.Errorf(r.Get("max_doublings"), "Max doublings must not be less than zero.")
		}
		q.MaxDoublings = doublings
	}
	return nil
}

func (q *Queue) readRetryLimit(r *appyaml.Mapping) error {
	limit, set, err := r.Int("task_retry_limit", math.MinInt32, math.MaxInt32-1)
	if err != nil {
		return err
	}
	if limit < 0 {
		return appyaml.Errorf(r.Get("task_retry_limit"), "Task retry limit must not be less than zero.")
	}
	q.MaxAttempts = -1
	if set {
		q.MaxAttempts = limit + 1
	}
	return nil
}

// readPull refuses what only push queues have.
func (q *Queue) readPull(e *appyaml.Mapping) error {
	for _, f := range []struct{ field, rule string }{
		{"rate", "Refill rate must not be specified for pull-based queue."},
		{"max_concurrent_requests", "Max concurrent requests must not be specified for pull-based queue."},
		{"bucket_size", "Bucket size must not be specified for pull-based queue."},
		{"target", "Target must not be specified for pull-based queue."},
	} {
		if n := e.Get(f.field); n != nil {
			return appyaml.Errorf(n, "%s", f.rule)
		}
	}
	q.MaxAttempts = -1
	n := e.Get("retry_parameters")
	if n == nil {
		return nil
	}
	fields := []string{"task_retry_limit", "task_age_limit", "min_backoff_seconds", "max_backoff_seconds", "max_doublings"}
	r, err := appyaml.Fields(n, "retry_parameters", fields...)
	if err != nil {
		return err
	}
	for _, field := range fields[1:] {
		if n := r.Get(field); n != nil {
			return appyaml.Errorf(n, "Can't specify %s for a pull queue.", field)
		}
	}
	return q.readRetryLimit(r)
}
