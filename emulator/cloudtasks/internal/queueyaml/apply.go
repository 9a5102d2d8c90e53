package queueyaml

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/service"
)

// How long queues of a file keep tasks, and the names of those that ended.
const (
	TaskTTL      = 3650 * 24 * time.Hour
	TombstoneTTL = 9 * 24 * time.Hour
)

// DefaultQueue is never paused for not being in a file.
const DefaultQueue = "default"

// A Change is something that Apply did.
type Change struct {
	Queue string // id
	What  string // such as: created; or: rate 5/s → 10/s
}

// Apply makes the queues of a location what the file says, as a deploy does:
// queues are created and changed; those with the rate 0, and those that the file
// leaves out, are paused; those that it lists go on, if it lets them. It goes on
// after an error.
func (f *File) Apply(s *service.Service, parent string) (changes []Change, err error) {
	var errs []error
	listed := map[string]bool{}
	for _, q := range f.Queues {
		listed[q.Name] = true
		done, err := f.applyQueue(s, parent, q)
		if err != nil {
			err = fmt.Errorf("line %d: queue %s: %s", q.Line, q.Name, status.Convert(err).Message())
		}
		changes, errs = append(changes, done...), append(errs, err)
	}
	others, err := queues(s, parent)
	if err != nil {
		return changes, errors.Join(append(errs, err)...)
	}
	for _, q := range others {
		id := q.GetName()[len(parent+"/queues/"):]
		if listed[id] || id == DefaultQueue || q.GetState() == cloudtaskspb.Queue_PAUSED {
			continue
		}
		if _, err := s.PauseQueue(q.GetName()); err != nil {
			errs = append(errs, fmt.Errorf("queue %s: %s", id, status.Convert(err).Message()))
			continue
		}
		changes = append(changes, Change{id, "paused: the file leaves it out"})
	}
	return changes, errors.Join(errs...)
}

// queues returns all queues of a location.
func queues(s *service.Service, parent string) (all []*cloudtaskspb.Queue, err error) {
	for p := (service.Page{}); ; {
		page, token, err := service.ListQueues(s, parent, "", p, false, func(q *service.Queue) *cloudtaskspb.Queue { return q.Queue })
		all = append(all, page...)
		if err != nil || token == "" {
			return all, err
		}
		p.Token = token
	}
}

// applyQueue makes one queue what the file says.
func (f *File) applyQueue(s *service.Service, parent string, q Queue) (changes []Change, err error) {
	name := parent + "/queues/" + q.Name
	was, err := s.GetQueue(name, false)
	missing := status.Code(err) == codes.NotFound
	if err != nil && !missing {
		return nil, err
	}
	wanted := q.Message(name)
	switch {
	case missing:
	case q.Pull != was.Pull:
		return nil, errors.New("the mode of a queue (push or pull) can't be changed: delete the queue first")
	case q.Rate == 0 && !q.Pull:
		wanted.RateLimits.MaxDispatchesPerSecond = was.GetRateLimits().GetMaxDispatchesPerSecond() // the rate stays
	}
	update, err := service.NewUpdate(wanted, &fieldmaskpb.FieldMask{Paths: q.Fields()}, "rate_limits", "retry_config", "app_engine_routing_override")
	if err != nil {
		return nil, err
	}
	is, err := s.UpdateQueue(name, update, func(into *service.Queue) error {
		update.Apply(into.Queue)
		if missing {
			into.Pull = q.Pull
			into.TaskTTL, into.TombstoneTTL = durationpb.New(TaskTTL), durationpb.New(TombstoneTTL)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if missing {
		changes = append(changes, Change{q.Name, "created: " + describe(q)})
	} else {
		changes = append(changes, differences(q.Name, was.Queue, is.Queue)...)
	}
	paused := is.GetState() == cloudtaskspb.Queue_PAUSED
	switch {
	case !q.Pull && q.Rate == 0 && !paused:
		_, err = s.PauseQueue(name)
		changes = append(changes, Change{q.Name, "paused: the rate is 0"})
	case (q.Pull || q.Rate > 0) && paused && f.ResumePaused:
		_, err = s.ResumeQueue(name)
		changes = append(changes, Change{q.Name, "resumed: the file lists it"})
	}
	return changes, err
}

// Fields are the fields of a queue that the file decides.
func (q Queue) Fields() []string {
	if q.Pull {
		return []string{"retry_config.max_attempts"}
	}
	list := []string{
		"rate_limits.max_burst_size", "rate_limits.max_concurrent_dispatches", "app_engine_routing_override",
		"retry_config.max_attempts", "retry_config.max_retry_duration", "retry_config.min_backoff", "retry_config.max_backoff", "retry_config.max_doublings",
	}
	return append(list, "rate_limits.max_dispatches_per_second")
}

// Message is the queue that the entry describes. A rate of 0 has no place in it:
// it is a pause.
func (q Queue) Message(name string) *cloudtaskspb.Queue {
	m := &cloudtaskspb.Queue{
		Name: name,
		RateLimits: &cloudtaskspb.RateLimits{
			MaxDispatchesPerSecond: q.Rate, MaxBurstSize: int32(q.Bucket), MaxConcurrentDispatches: int32(q.Concurrent),
		},
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts: int32(q.MaxAttempts), MaxRetryDuration: durationpb.New(q.MaxRetryDuration),
			MinBackoff: durationpb.New(q.MinBackoff), MaxBackoff: durationpb.New(q.MaxBackoff), MaxDoublings: int32(q.MaxDoublings),
		},
	}
	if q.Service != "" {
		m.AppEngineRoutingOverride = &cloudtaskspb.AppEngineRouting{Service: q.Service, Version: q.Version}
	}
	return m
}

func describe(q Queue) string {
	if q.Pull {
		return "pull"
	}
	return fmt.Sprintf("rate %s, burst %d, %d at a time", rate(q.Rate), q.Bucket, q.Concurrent)
}

func rate(perSecond float64) string { return strconv.FormatFloat(perSecond, 'g', 6, 64) + "/s" }

// differences puts what has changed into words.
func differences(id string, was, is *cloudtaskspb.Queue) (changes []Change) {
	note := func(what, a, b string) {
		if a != b {
			changes = append(changes, Change{id, what + " " + a + " → " + b})
		}
	}
	a, b := was.GetRateLimits(), is.GetRateLimits()
	note("rate", rate(a.GetMaxDispatchesPerSecond()), rate(b.GetMaxDispatchesPerSecond()))
	note("burst", strconv.Itoa(int(a.GetMaxBurstSize())), strconv.Itoa(int(b.GetMaxBurstSize())))
	note("concurrency", strconv.Itoa(int(a.GetMaxConcurrentDispatches())), strconv.Itoa(int(b.GetMaxConcurrentDispatches())))
	if x, y := was.GetRetryConfig(), is.GetRetryConfig(); !proto.Equal(x, y) {
		note("attempts", strconv.Itoa(int(x.GetMaxAttempts())), strconv.Itoa(int(y.GetMaxAttempts())))
		note("retry duration", x.GetMaxRetryDuration().AsDuration().String(), y.GetMaxRetryDuration().AsDuration().String())
		note("backoff", x.GetMinBackoff().AsDuration().String()+" to "+x.GetMaxBackoff().AsDuration().String(),
			y.GetMinBackoff().AsDuration().String()+" to "+y.GetMaxBackoff().AsDuration().String())
		note("doublings", strconv.Itoa(int(x.GetMaxDoublings())), strconv.Itoa(int(y.GetMaxDoublings())))
	}
	note("target", was.GetAppEngineRoutingOverride().GetHost(), is.GetAppEngineRoutingOverride().GetHost())
	return changes
}
