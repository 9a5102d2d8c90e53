package service

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// maxLeaseBytes is what the gRPC and HTTP answers of one call hold at most.
const maxLeaseBytes = engine.MaxLeaseBytes

// LeaseTasks leases tasks of a pull queue. filtered is "", tag=TAG or
// tag_function=oldest_tag().
func (s *Service) LeaseTasks(parent string, most int32, d *durationpb.Duration, filtered string, view View) ([]*Task, error) {
	if !validQueue(parent) {
		return nil, errQueueName()
	}
	if err := view.check(); err != nil {
		return nil, err
	}
	if most < 1 || most > engine.MaxLeases {
		return nil, Invalid("LeaseTasksRequest.maxTasks must be between [1, %d], not %d.", engine.MaxLeases, most)
	}
	duration, err := leaseDuration("LeaseTasksRequest", d)
	if err != nil {
		return nil, err
	}
	l := engine.Lease{Max: int(most), Duration: duration, MaxBytes: maxLeaseBytes}
	if err := tagFilter(&l, filtered); err != nil {
		return nil, err
	}
	leased, err := s.engine.LeaseTasks(parent, l)
	if err != nil {
		return nil, toStatus(err, verbOther)
	}
	tasks := make([]*Task, len(leased))
	for i, t := range leased {
		if tasks[i], err = loadTask(t, view); err != nil {
			return nil, err
		}
	}
	return tasks, nil
}

func leaseDuration(request string, d *durationpb.Duration) (time.Duration, error) {
	switch {
	case d == nil:
		return 0, Invalid("%s.leaseDuration is required.", request)
	case d.CheckValid() != nil, d.AsDuration() < 0, d.AsDuration() > engine.MaxLease:
		return 0, Invalid("%s.leaseDuration must be between [0s, 604800s].", request)
	}
	return d.AsDuration(), nil
}

// tagFilter reads the filter of LeaseTasks.
func tagFilter(l *engine.Lease, text string) error {
	name, value, found := strings.Cut(text, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case name == "" && !found:
	case name == "tag_function" && value == "oldest_tag()":
		l.OldestTag = true
	case name == "tag" && found:
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		l.HasTag, l.Tag = true, value
	default:
		return Invalid(`The filter %q is not understood: it must be "tag=" and a tag, or "tag_function=oldest_tag()".`, text)
	}
	return nil
}

// held is the end of the lease that a caller says to hold.
func held(at *timestamppb.Timestamp) (engine.Micros, error) {
	if at == nil || at.CheckValid() != nil {
		return 0, Invalid("The schedule_time that the lease was given with is required.")
	}
	return engine.Micros(at.AsTime().UnixMicro()), nil
}

// AcknowledgeTask ends a leased task.
func (s *Service) AcknowledgeTask(name string, at *timestamppb.Timestamp) error {
	queue, id, err := parseTask(name)
	if err != nil {
		return err
	}
	until, err := held(at)
	if err != nil {
		return err
	}
	return toStatus(s.engine.AcknowledgeTask(queue, id, until), verbOther)
}

// RenewLease lets a lease end a duration from now.
func (s *Service) RenewLease(name string, at *timestamppb.Timestamp, d *durationpb.Duration, view View) (*Task, error) {
	duration, err := leaseDuration("RenewLeaseRequest", d)
	if err != nil {
		return nil, err
	}
	return s.changeLease(name, at, view, func(queue, id string, until engine.Micros) (engine.Task, error) {
		return s.engine.RenewLease(queue, id, until, duration)
	})
}

// CancelLease ends a lease.
func (s *Service) CancelLease(name string, at *timestamppb.Timestamp, view View) (*Task, error) {
	return s.changeLease(name, at, view, s.engine.CancelLease)
}

func (s *Service) changeLease(name string, at *timestamppb.Timestamp, view View, change func(queue, id string, held engine.Micros) (engine.Task, error)) (*Task, error) {
	until, err := held(at)
	if err != nil {
		return nil, err
	}
	return s.oneTask(name, view, verbOther, func(queue, id string) (engine.Task, error) {
		return change(queue, id, until)
	})
}
