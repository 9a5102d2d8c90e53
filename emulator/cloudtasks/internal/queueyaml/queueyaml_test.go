package queueyaml

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

const parent = "projects/p/locations/l"

func TestParse(t *testing.T) {
	f, err := Parse([]byte(`
# a comment
total_storage_limit: 1.5G
resume_paused_queues: False
queue:
- name: all
  rate: 30/m
  mode: push
  bucket_size: 40
  max_concurrent_requests: 9999
  target: v2.worker
  acl:
  - user_email: ada@example.com
  - writer_email: bob@example.com
  retry_parameters:
    task_retry_limit: 0
    task_age_limit: 1.5h
    min_backoff_seconds: 0.25
    max_backoff_seconds: 10
    max_doublings: 0
- name: nothing
  rate: 500/s
- {name: stopped, rate: 0, bucket_size: 0, max_concurrent_requests: 0, target: worker}
- name: late
  rate: 1/d
  retry_parameters: {min_backoff_seconds: 4000}
- name: early
  rate: 2.5/h
  retry_parameters: {max_backoff_seconds: 0.01}
- name: pulled
  mode: pull
  retry_parameters: {task_retry_limit: 7}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &File{Queues: []Queue{
		{Name: "all", Line: 6, Rate: 0.5, Bucket: 40, Concurrent: 5000, Version: "v2", Service: "worker",
			MaxAttempts: 1, MaxRetryDuration: 90 * time.Minute, MinBackoff: 250 * time.Millisecond, MaxBackoff: 10 * time.Second},
		{Name: "nothing", Line: 21, Rate: 500, Bucket: 5, Concurrent: 1000, MaxAttempts: -1, MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Hour, MaxDoublings: 16},
		{Name: "stopped", Line: 23, Bucket: 5, Concurrent: 1000, Service: "worker", MaxAttempts: -1, MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Hour, MaxDoublings: 16},
		{Name: "late", Line: 24, Rate: 1.1574e-05, Bucket: 5, Concurrent: 1000, MaxAttempts: -1, MinBackoff: 4000 * time.Second, MaxBackoff: 4000 * time.Second, MaxDoublings: 16},
		{Name: "early", Line: 27, Rate: 0.000694444, Bucket: 5, Concurrent: 1000, MaxAttempts: -1, MinBackoff: 10 * time.Millisecond, MaxBackoff: 10 * time.Millisecond, MaxDoublings: 16},
		{Name: "pulled", Line: 30, Pull: true, MaxAttempts: 8},
	}}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Error(diff)
	}
}

// What a deploy refuses is refused, with the line.
func TestErrors(t *testing.T) {
	queue := func(fields string) string { return "queue:\n- name: q\n  " + fields + "\n" }
	for _, test := range []struct{ text, want string }{
		{"", "Empty queue configuration."},
		{"# nothing\n", "Empty queue configuration."},
		{"queues: []", `line 1: the file has an unknown field "queues": there is queue, total_storage_limit, resume_paused_queues, application`},
		{"queue: 7", "line 1: queue must be a list"},
		{"- queue", `line 1: the file must have fields, as in "queue: …"`},
		{"queue:\n- rate: 5/s", "line 2: a queue lacks its name"},
		{"queue:\n- {name: a b, rate: 5/s}", `line 2: queue name "a b": must be 1 to 100 letters, digits and hyphens`},
		{queue("mode: push"), "line 2: Refill rate must be specified for push-based queue."},
		{queue("rate: 501/s"), "line 3: Refill rate must not exceed 500 per second (is 501.0)."},
		{queue("rate: 5"), `line 3: Rate "5" is invalid: must be 0, or a number and /s, /m, /h or /d, as in 5/s.`},
		{queue("rate: -5/s"), `line 3: Rate "-5/s" is invalid: must be 0, or a number and /s, /m, /h or /d, as in 5/s.`},
		{queue("rate: 5/w"), `line 3: Rate "5/w" is invalid: must be 0, or a number and /s, /m, /h or /d, as in 5/s.`},
		{queue("{rate: 5/s}"), "line 4: could not find expected ':'"},
		{queue("rate: 5/s\n  rate: 6/s"), `line 4: a queue has the field "rate" twice`},
		{queue("rate: 5/s\n  mode: both"), `line 4: mode "both": must be push or pull`},
		{queue("rate: 5/s\n  bucket_size: 501"), `line 4: Error updating queue "q": Maximum bucket size is 500.`},
		{queue("rate: 5/s\n  bucket_size: -1"), "line 4: bucket_size -1: must not be negative"},
		{queue("rate: 5/s\n  target: Big"), `line 4: target "Big": must be service or version.service, of lower-case letters, digits and hyphens`},
		{queue("rate: 5/s\n  retry_parameters: {task_retry_limit: -1}"), "line 4: Task retry limit must not be less than zero."},
		{queue("rate: 5/s\n  retry_parameters: {task_age_limit: 0s}"), "line 4: Task age limit must be greater than zero."},
		{queue("rate: 5/s\n  retry_parameters: {task_age_limit: 3}"), `line 4: task_age_limit "3": must be a non-negative number followed by a time unit, such as 1h or 3.5d`},
		{queue("rate: 5/s\n  retry_parameters:\n    min_backoff_seconds: 2\n    max_backoff_seconds: 1"), "line 5: Min backoff sec must not be greater than than max backoff sec."},
		{queue("rate: 5/s\n  retry_parameters: {min_backoff_seconds: -2}"), `line 4: min_backoff_seconds "-2": must be a number of seconds, not negative`},
		{queue("rate: 5/s\n  retry_parameters: {max_doublings: -2}"), "line 4: Max doublings must not be less than zero."},
		{queue("mode: pull\n  rate: 5/s"), "line 4: Refill rate must not be specified for pull-based queue."},
		{queue("mode: pull\n  retry_parameters: {max_doublings: 3}"), "line 4: Can't specify max_doublings for a pull queue."},
		{queue("mode: pull\n  target: x"), "line 4: Target must not be specified for pull-based queue."},
		{queue("rate: 1/s\n- name: q\n  rate: 1/s"), `line 4: the queue "q" is there twice, first in line 2`},
		{"queue: []\nresume_paused_queues: perhaps", `line 2: resume_paused_queues "perhaps": must be True or False`},
		{"queue: []\ntotal_storage_limit: 5X", `line 2: Total Storage Limit "5X" is invalid: must be a number, with B, K, M, G or T after it`},
		{"queue: []\n---\nqueue: []", "line 2: another document begins: there must be one"},
		{"queue: &a []\napplication: *a", "line 2: aliases are not supported"},
		{"queue:\n- \xff", "the file is not UTF-8"},
	} {
		if _, err := Parse([]byte(test.text)); err == nil || err.Error() != test.want {
			t.Errorf("Parse(%q): %v\nwant %s", test.text, err, test.want)
		}
	}
}

func open(t *testing.T) *service.Service {
	t.Helper()
	e, err := engine.Open(engine.Options{Deliver: func(context.Context, *engine.Delivery) engine.Result { return engine.Result{} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return service.New(e, nil)
}

// Queues become what the file says, one edition after the other.
func TestApply(t *testing.T) {
	s := open(t)
	create := func(id string) {
		t.Helper()
		if _, err := s.CreateQueue(parent, &service.Queue{Queue: &cloudtaskspb.Queue{Name: parent + "/queues/" + id}}); err != nil {
			t.Fatal(err)
		}
	}
	create("default")
	create("stranger")
	for i, step := range []struct{ text, changes, state string }{
		{"queue:\n- {name: a, rate: 5/s}\n- {name: b, rate: 0}\n- {name: c, mode: pull}",
			"a created: rate 5/s, burst 5, 1000 at a time; b created: rate 0/s, burst 5, 1000 at a time; b paused: the rate is 0; c created: pull; stranger paused: the file leaves it out",
			"a 5 5 RUNNING, b 500 5 PAUSED, c pull RUNNING, default 500 100 RUNNING, stranger 500 100 PAUSED"},
		{"queue:\n- {name: a, rate: 5/s}\n- {name: b, rate: 0}\n- {name: c, mode: pull}", "",
			"a 5 5 RUNNING, b 500 5 PAUSED, c pull RUNNING, default 500 100 RUNNING, stranger 500 100 PAUSED"},
		{"resume_paused_queues: False\nqueue:\n- {name: a, rate: 10/s, bucket_size: 7, target: w, retry_parameters: {task_retry_limit: 2, max_doublings: 0}}\n- {name: b, rate: 6/m}\n- {name: c, mode: pull}",
			"a rate 5/s → 10/s; a burst 5 → 7; a attempts -1 → 3; a doublings 16 → 0; a target  → w.p.l.r.appspot.com; b rate 500/s → 0.1/s",
			"a 10 7 RUNNING, b 0.1 5 PAUSED, c pull RUNNING, default 500 100 RUNNING, stranger 500 100 PAUSED"},
		{"queue:\n- {name: a, rate: 0}\n- {name: b, rate: 6/m}\n- {name: stranger, rate: 1/s}",
			"a burst 7 → 5; a attempts 3 → -1; a doublings 0 → 16; a target w.p.l.r.appspot.com → ; a paused: the rate is 0; b resumed: the file lists it; " +
				"stranger rate 500/s → 1/s; stranger burst 100 → 5; stranger attempts 100 → -1; stranger resumed: the file lists it; c paused: the file leaves it out",
			"a 10 5 PAUSED, b 0.1 5 RUNNING, c pull PAUSED, default 500 100 RUNNING, stranger 1 5 RUNNING"},
	} {
		f, err := Parse([]byte(step.text))
		if err != nil {
			t.Fatal(err)
		}
		changes, err := f.Apply(s, parent)
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		var words []string
		for _, c := range changes {
			words = append(words, c.Queue+" "+c.What)
		}
		if got := strings.Join(words, "; "); got != step.changes {
			t.Errorf("step %d changes\n%s\nwant\n%s", i, got, step.changes)
		}
		list, _, err := service.ListQueues(s, parent, "", service.Page{}, false, func(q *service.Queue) *cloudtaskspb.Queue {
			q.PurgeTime = nil
			if q.Pull {
				q.RateLimits = nil
			}
			return q.Queue
		})
		if err != nil {
			t.Fatal(err)
		}
		var state []string
		for _, q := range list {
			limits := "pull"
			if q.RateLimits != nil {
				limits = fmt.Sprint(q.GetRateLimits().GetMaxDispatchesPerSecond(), q.GetRateLimits().GetMaxBurstSize())
			}
			state = append(state, fmt.Sprint(strings.TrimPrefix(q.GetName(), parent+"/queues/"), " ", limits, " ", q.GetState()))
		}
		if got := strings.Join(state, ", "); got != step.state {
			t.Errorf("step %d leaves\n%s\nwant\n%s", i, got, step.state)
		}
	}
	q, err := s.GetQueue(parent+"/queues/b", false)
	if err != nil {
		t.Fatal(err)
	}
	if q.TaskTTL.AsDuration() != TaskTTL || q.TombstoneTTL.AsDuration() != TombstoneTTL {
		t.Errorf("a new queue keeps tasks %v and names %v", q.TaskTTL.AsDuration(), q.TombstoneTTL.AsDuration())
	}
}

// A name that was deleted a moment ago can't be used yet, and the log says so in
// the words of the service alone.
func TestApplyTombstone(t *testing.T) {
	s := open(t)
	f, err := Parse([]byte("queue: [{name: a, rate: 1/s}]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Apply(s, parent); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteQueue(parent + "/queues/a"); err != nil {
		t.Fatal(err)
	}
	const want = "line 1: queue a: The queue cannot be created because a queue with this name existed too recently."
	if _, err := f.Apply(s, parent); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A queue that can't be what the file says doesn't keep the others back.
func TestApplyGoesOn(t *testing.T) {
	s := open(t)
	for i, text := range []string{"queue: [{name: a, rate: 1/s}]", "queue:\n- {name: a, mode: pull}\n- {name: b, rate: 1/s}"} {
		f, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		changes, err := f.Apply(s, parent)
		const want = "line 2: queue a: the mode of a queue (push or pull) can't be changed: delete the queue first"
		if i == 1 && (err == nil || err.Error() != want) {
			t.Errorf("error %v, want %s", err, want)
		}
		if i == 1 && !slices.ContainsFunc(changes, func(c Change) bool { return c.Queue == "b" }) {
			t.Errorf("changes %v, want the queue b among them", changes)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("queue:\n- name: q\n  rate: 5/s\n  retry_parameters:\n    task_age_limit: 1.5h\n    min_backoff_seconds: 3"))
	f.Add([]byte("total_storage_limit: 5M\nresume_paused_queues: no\nqueue: [{name: a, mode: pull, acl: [{user_email: x}]}]"))
	f.Add([]byte("queue: [{name: a, rate: 1e300/d, bucket_size: 0x10, max_concurrent_requests: 1_0, target: a.b.c}]"))
	f.Add([]byte("? &a [*a]\n: !!str\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(text)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		for _, q := range file.Queues {
			if !q.Pull && (!(q.Rate >= 0 && q.Rate <= maxRate) || q.Bucket < 1 || q.Bucket > maxBucket || q.Concurrent < 1 || q.Concurrent > maxConcurrent ||
				q.MinBackoff < 0 || q.MaxBackoff < q.MinBackoff || q.MaxAttempts < -1 || q.MaxAttempts == 0 || q.MaxRetryDuration < 0) {
				t.Errorf("%q: %+v", text, q)
			}
		}
	})
}
