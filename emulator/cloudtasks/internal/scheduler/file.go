package scheduler

import (
	"errors"
	"fmt"
	"strings"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// ErrTaken says that a name in cron.yaml belongs to another job.
var ErrTaken = errors.New("the name is taken by a job that is not from cron.yaml: delete that one")

// SetFile makes jobs, whose names are ids, the jobs of cron.yaml in a location,
// and removes all others that came from a file. A job that is what it was keeps
// its state; one that has changed begins anew, as after a deploy. An error names
// the first job that can't be, and nothing changes but for what the journal
// refuses half way.
func (s *Scheduler) SetFile(parent string, jobs []*schedulerpb.Job) error {
	if len(jobs) > 0 && !validLocation(parent) {
		return fmt.Errorf("location %q: %s", parent, textLocationName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[string]*schedulerpb.Job{}
	var order []string
	for _, j := range jobs {
		spec := settings(j)
		spec.Name = parent + "/jobs/" + j.GetName()
		if !validJob(spec.GetName()) {
			return fmt.Errorf("job %q: %s", spec.GetName(), textJobName)
		}
		complete(spec, true)
		if err := check(spec); err != nil {
			return fmt.Errorf("job %s: %s", j.GetName(), status.Convert(err).Message())
		}
		if other, taken := s.jobs.Get(spec.GetName()); taken && !other.file {
			return fmt.Errorf("job %s: %w", spec.GetName(), ErrTaken)
		}
		wanted[spec.GetName()] = spec
		order = append(order, spec.GetName())
	}
	var errs []error
	for _, j := range s.jobs.Values() {
		if j.file && wanted[j.spec.GetName()] == nil {
			s.o.Log.Info("cron.yaml: a job is gone", "job", j.spec.GetName())
			errs = append(errs, s.drop(j))
		}
	}
	for _, name := range order {
		errs = append(errs, s.setFileJob(wanted[name]))
	}
	return errors.Join(errs...)
}

// setFileJob adds or replaces one job. mu is held.
func (s *Scheduler) setFileJob(spec *schedulerpb.Job) error {
	j, known := s.jobs.Get(spec.GetName())
	if known && proto.Equal(settings(j.spec), spec) {
		return nil
	}
	if !known {
		j = &job{}
	}
	j.file = true
	spec.State = schedulerpb.Job_ENABLED
	verb := "added"
	if known {
		verb = "changed"
	}
	s.o.Log.Info("cron.yaml: a job is "+verb, "job", spec.GetName()[strings.LastIndexByte(spec.GetName(), '/')+1:], "schedule", spec.GetSchedule())
	_, err := s.store(j, spec)
	return err
}
