package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/tasks"
)

// A probe is a task that was created, read and deleted.
type probe struct {
	queue         string // short id
	sent, got     *cloudtaskspb.Task
	before, after time.Time // the creation, by our clock
	left          error     // why the task could not be deleted
}

// A mayNotError says which permissions a probe lacks: nothing was created.
type mayNotError struct {
	queue   string
	missing []string
}

func (e *mayNotError) Error() string {
	return fmt.Sprintf("these credentials lack %v on the queue %s, without which a task can't be tried and taken back", e.missing, e.queue)
}

var errNoQueue = errors.New("none of the queues of the classes is there")

// probe creates a task as the runner does, an hour ahead, reads it and deletes it.
// It has no name, so that none stays taken.
func (s *session) probe(ctx context.Context) (*probe, error) {
	list, err := s.listed()
	if err != nil && !mayNotList(err) {
		return nil, err
	}
	at := slices.IndexFunc(s.Queues, func(name string) bool { return err != nil || list.byID[name] != nil })
	if at < 0 {
		return nil, errNoQueue
	}
	p := &probe{queue: s.Queues[at]}
	queue := s.parent() + "/queues/" + p.queue
	needed := []string{"cloudtasks.tasks.create", "cloudtasks.tasks.get", "cloudtasks.tasks.fullView", "cloudtasks.tasks.delete"}
	missing, err := s.lacking(ctx, queue, needed)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, &mayNotError{p.queue, missing}
	}
	p.sent = s.probeTask()
	p.before = time.Now()
	created, err := s.Tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: p.sent})
	if err != nil {
		return nil, fmt.Errorf("create a task in the queue %s: %w", p.queue, err)
	}
	p.after = time.Now()
	p.got, err = s.Tasks.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: created.GetName(), ResponseView: cloudtaskspb.Task_FULL})
	if err != nil {
		err = fmt.Errorf("read the task %s: %w", created.GetName(), err)
		p.got = created
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout/2) // it must not stay behind
	defer cancel()
	p.left = s.Tasks.DeleteTask(last, &cloudtaskspb.DeleteTaskRequest{Name: created.GetName()})
	return p, err
}

func (s *session) probeTask() *cloudtaskspb.Task {
	t := &cloudtaskspb.Task{
		ScheduleTime: timestamppb.New(time.Now().Add(time.Hour)),
		RetryConfig: &cloudtaskspb.RetryConfig{ // what no queue has by accident
			MaxAttempts: -1, MaxRetryDuration: durationpb.New(0), MinBackoff: durationpb.New(7 * time.Second), MaxBackoff: durationpb.New(11 * time.Minute), MaxDoublings: 9,
		},
	}
	const path = tasks.PushPath + "latchwork-doctor"
	if s.Target == tasks.TargetAppEngine {
		t.MessageType = &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{HttpMethod: cloudtaskspb.HttpMethod_POST, RelativeUri: path}}
	} else {
		t.MessageType = &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{HttpMethod: cloudtaskspb.HttpMethod_POST, Url: s.WorkerURL + path}}
	}
	return t
}

// lacking returns which permissions these credentials don't have on a queue.
func (s *session) lacking(ctx context.Context, queue string, permissions []string) (missing []string, err error) {
	granted, err := s.Tasks.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{Resource: queue, Permissions: permissions})
	if err != nil {
		return nil, fmt.Errorf("test the permissions on %s: %w", queue, err)
	}
	return slices.DeleteFunc(slices.Clone(permissions), func(p string) bool { return slices.Contains(granted.GetPermissions(), p) }), nil
}

// retryOverride: does a task keep the retry settings that it came with? The runner
// rests on it: the queue must never give a task up.
func (s *session) retryOverride(context.Context) Finding {
	p, err := s.probed()
	if mayNot, ok := errors.AsType[*mayNotError](err); ok {
		return look("a task of its own").skip("%v", mayNot)
	}
	if errors.Is(err, errNoQueue) {
		return look("a task of its own").skip("%v", err)
	}
	if err != nil && p == nil {
		return look("a task of its own").fail("gcloud tasks list --queue="+quoteOr(firstOf(s.Queues), "default")+" "+s.at(), "%s", s.words(err))
	}
	l := look("a task in the queue " + p.queue + ", due in an hour, created, read and deleted")
	sent, got := p.sent.GetRetryConfig(), p.got.GetRetryConfig()
	remove := fmt.Sprintf("gcloud tasks delete %s", quote(p.got.GetName()))
	switch {
	case p.left != nil:
		return l.warn(remove, "the task could not be deleted, and is pushed in an hour: %s", s.words(p.left))
	case err != nil:
		return l.fail("gcloud tasks list --queue="+quote(p.queue)+" "+s.at(), "%s", s.words(err))
	case !sameRetry(sent, got):
		return l.fail(fmt.Sprintf("gcloud tasks queues update %s %s --max-attempts=-1 --max-retry-duration=0s", quote(p.queue), s.at()),
			"the service does not keep a task's own retry settings: sent %s, read %s; the queue's apply then, and must never give up", retryWords(sent), retryWords(got))
	}
	return l.ok("a task keeps the retry settings that it came with")
}

func firstOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// sameRetry takes an unset duration for 0.
func sameRetry(a, b *cloudtaskspb.RetryConfig) bool {
	filled := func(r *cloudtaskspb.RetryConfig) *cloudtaskspb.RetryConfig {
		r = proto.CloneOf(r)
		if r != nil {
			r.MaxRetryDuration = cmp.Or(r.MaxRetryDuration, durationpb.New(0))
		}
		return r
	}
	return proto.Equal(filled(a), filled(b))
}

func retryWords(r *cloudtaskspb.RetryConfig) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%d attempts in %v with %v to %v and %d doublings", r.GetMaxAttempts(), r.GetMaxRetryDuration().AsDuration(),
		r.GetMinBackoff().AsDuration(), r.GetMaxBackoff().AsDuration(), r.GetMaxDoublings())
}

// From where on a clock is worth a word, and from where on it does harm: the
// sweeper leaves an outbox entity to its writer for half a minute, by two clocks.
const (
	skewSeen = 5 * time.Second
	skewMost = 30 * time.Second
)

// clock: do this machine and the queue agree on the time?
func (s *session) clock(context.Context) Finding {
	l := look("this machine's clock, and when Cloud Tasks says that the task of retry-override was created")
	p, err := s.probed()
	if err != nil {
		return l.skip("there is no such task: %s", s.words(err))
	}
	at := p.got.GetCreateTime().AsTime() // in whole seconds
	skew := time.Duration(0)
	switch earliest, latest := p.before.Add(-time.Second), p.after; {
	case at.Before(earliest):
		skew = at.Sub(earliest)
	case at.After(latest):
		skew = at.Sub(latest)
	}
	const remedy = "sudo timedatectl set-ntp true"
	switch size := skew.Abs(); {
	case size > skewSeen && s.emulated():
		return l.warn("latchwork emulator  # started again it has the machine's time", "the emulators' clock is %s this machine's: it was advanced, or froze", apart(skew))
	case size > skewMost:
		return l.fail(remedy, "the queue's clock is %s this machine's: tokens are refused, and the sweeper takes what is fresh for stale", apart(skew))
	case size > skewSeen:
		return l.warn(remedy, "the queue's clock is %s this machine's", apart(skew))
	}
	return l.ok("they agree within %v", skewSeen)
}

func apart(skew time.Duration) string {
	if skew < 0 {
		return (-skew).Round(time.Second).String() + " behind"
	}
	return skew.Round(time.Second).String() + " ahead of"
}
