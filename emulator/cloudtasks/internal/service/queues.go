package service

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	v2beta3 "cloud.google.com/go/cloudtasks/apiv2beta3/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/filter"
)

const (
	maxQueuesPage = 9800

	// maxQueueOverhead is what an answer has of a queue beside its spec, at most:
	// times, lives and measurements.
	maxQueueOverhead = 256
)

// A Service is what the versions of the API have in common. New makes it.
type Service struct {
	engine  *engine.Engine
	now     func() time.Time
	batches locks
	facts   locks
}

// New returns the service of an engine. now is the engine's clock; nil is the
// real one.
func New(e *engine.Engine, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	return &Service{engine: e, now: now}
}

func (s *Service) list(what ...string) list { return list{strings.Join(what, "\n"), s.now()} }

// CreateQueue adds a queue. What is output only is ignored. q is nil when the
// request has none.
func (s *Service) CreateQueue(parent string, q *Queue) (*Queue, error) {
	if !ValidLocation(parent) {
		return nil, Invalid(textLocationName)
	}
	if q == nil {
		return nil, Invalid("Queue is required.")
	}
	if !validQueue(q.GetName()) {
		return nil, errQueueName()
	}
	if !strings.HasPrefix(q.GetName(), parent+"/") {
		return nil, Invalid("%s must begin with %s.", q.GetName(), parent)
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	q.complete(false)
	return s.createQueue(q)
}

// createQueue adds a queue that is checked and complete.
func (s *Service) createQueue(q *Queue) (*Queue, error) {
	settings, spec, err := q.store()
	if err != nil {
		return nil, err
	}
	return answerQueue(s.engine.CreateQueue(q.GetName(), settings, spec))
}

func answerQueue(d engine.Queue, err error) (*Queue, error) {
	if err != nil {
		return nil, toStatus(err, verbOther)
	}
	return load(d)
}

// UpdateQueue lets change apply an update to a queue, and creates the queue when
// there is none.
func (s *Service) UpdateQueue(name string, u *Update, change func(*Queue) error) (*Queue, error) {
	if !validQueue(name) {
		return nil, errQueueName()
	}
	update := func(d *engine.Queue) error {
		q, err := load(*d)
		if err == nil {
			err = q.update(u, change)
		}
		if err != nil {
			return err
		}
		if q.Pull != d.Settings.Pull {
			return Invalid("The type of a queue (push or pull) can't be changed.")
		}
		d.Settings, d.Spec, err = q.store()
		return err
	}
	d, err := s.engine.UpdateQueue(name, update)
	if !errors.Is(err, engine.ErrQueueMissing) {
		return answerQueue(d, err)
	}
	q := &Queue{Queue: &cloudtaskspb.Queue{Name: name}}
	q.complete(false)
	if err := q.update(u, change); err != nil {
		return nil, err
	}
	created, err := s.createQueue(q)
	if status.Code(err) == codes.AlreadyExists { // since a moment ago
		return answerQueue(s.engine.UpdateQueue(name, update))
	}
	return created, err
}

// update applies an update to a queue that is complete, and leaves it so. A new
// rate brings a burst of its own, unless the burst is set as well.
func (q *Queue) update(u *Update, change func(*Queue) error) error {
	name, rate, burst := q.GetName(), q.GetRateLimits().GetMaxDispatchesPerSecond(), q.GetRateLimits().GetMaxBurstSize()
	if err := change(q); err != nil {
		return err
	}
	q.Name = name
	if err := q.check(); err != nil {
		return err
	}
	if l := q.GetRateLimits(); l != nil && l.MaxBurstSize == burst && !u.sets("rate_limits.max_burst_size") &&
		cmp.Or(l.MaxDispatchesPerSecond, defaultRate) != rate {
		l.MaxBurstSize = 0
	}
	q.complete(!u.Names("retry_config")) // else 0 doublings are there on purpose
	return nil
}

// GetQueue returns a queue.
func (s *Service) GetQueue(name string, stats bool) (*Queue, error) {
	if !validQueue(name) {
		return nil, errQueueName()
	}
	q, err := answerQueue(s.engine.GetQueue(name))
	if err != nil || !stats {
		return q, err
	}
	return q, s.measure(q)
}

func (s *Service) measure(q *Queue) error {
	seen, err := s.engine.QueueStats(q.GetName())
	if err != nil {
		return toStatus(err, verbOther)
	}
	q.Stats = &v2beta3.QueueStats{
		TasksCount:                int64(seen.Tasks),
		ExecutedLastMinuteCount:   int64(seen.Executed),
		ConcurrentDispatchesCount: int64(seen.Running),
		EffectiveExecutionRate:    seen.Rate,
	}
	if seen.Oldest != 0 {
		q.Stats.OldestEstimatedArrivalTime = timestamp(seen.Oldest)
	}
	return nil
}

// ListQueues returns queues of a location in lexicographic order, as show makes
// them the messages of a version: those that match the filter, which is asked of
// those messages. The token is of the next page, "" after the last.
func ListQueues[M proto.Message](s *Service, parent, filtered string, p Page, stats bool, show func(*Queue) M) (queues []M, token string, err error) {
	if !ValidLocation(parent) {
		return nil, "", Invalid(textLocationName)
	}
	limit, err := p.size(maxQueuesPage)
	if err != nil {
		return nil, "", err
	}
	var none M
	wanted, err := filter.Parse(filtered, none.ProtoReflect().Descriptor())
	if err != nil {
		return nil, "", Invalid("The filter is not understood %v.", err)
	}
	pages := s.list("queues of", parent, filtered)
	after, err := pages.open(p.Token)
	if err != nil {
		return nil, "", err
	}
	found, more, err := s.engine.ListQueues(parent+"/queues/", after, limit)
	if err != nil {
		return nil, "", toStatus(err, verbOther)
	}
	stats = stats || strings.Contains(filtered, "stats")
	size := 0
	for i, d := range found {
		if size += len(d.Spec) + maxQueueOverhead; size > maxPageBytes && i > 0 {
			found, more = found[:i], true
			break
		}
		q, err := load(d)
		if err != nil {
			return nil, "", err
		}
		if stats {
			if err := s.measure(q); status.Code(err) == codes.NotFound {
				continue // deleted since a moment ago
			} else if err != nil {
				return nil, "", err
			}
		}
		if m := show(q); wanted.Matches(m.ProtoReflect()) {
			queues = append(queues, m)
		}
	}
	if more {
		token = pages.token(found[len(found)-1].Name)
	}
	return queues, token, nil
}

// DeleteQueue removes a queue with its tasks and its policy.
func (s *Service) DeleteQueue(name string) error {
	if !validQueue(name) {
		return errQueueName()
	}
	if err := s.engine.DeleteQueue(name); err != nil {
		return toStatus(err, verbDeleteQueue)
	}
	return toStatus(s.dropPolicy(name), verbOther)
}

// PurgeQueue removes the tasks of a queue, at once.
func (s *Service) PurgeQueue(name string) (*Queue, error) { return s.change(name, s.engine.PurgeQueue) }

// PauseQueue stops a queue.
func (s *Service) PauseQueue(name string) (*Queue, error) { return s.change(name, s.engine.PauseQueue) }

// ResumeQueue lets a queue go on.
func (s *Service) ResumeQueue(name string) (*Queue, error) {
	return s.change(name, s.engine.ResumeQueue)
}

func (s *Service) change(name string, f func(string) (engine.Queue, error)) (*Queue, error) {
	if !validQueue(name) {
		return nil, errQueueName()
	}
	return answerQueue(f(name))
}
