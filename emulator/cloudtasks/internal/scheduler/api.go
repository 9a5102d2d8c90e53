package scheduler

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// CreateJob implements google.cloud.scheduler.v1.
func (s *Scheduler) CreateJob(_ context.Context, r *schedulerpb.CreateJobRequest) (*schedulerpb.Job, error) {
	if !validLocation(r.GetParent()) {
		return nil, invalid(textLocationName)
	}
	if r.GetJob() == nil {
		return nil, invalid("Job is required.")
	}
	spec := settings(r.GetJob())
	if spec.Name != "" {
		if !validJob(spec.GetName()) {
			return nil, invalid(textJobName)
		}
		if !strings.HasPrefix(spec.GetName(), r.GetParent()+"/") {
			return nil, invalid("%s must begin with %s.", spec.GetName(), r.GetParent())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for spec.Name == "" {
		name := r.GetParent() + "/jobs/" + strconv.FormatUint(rand.Uint64(), 10)
		if _, taken := s.jobs.Get(name); !taken {
			spec.Name = name
		}
	}
	complete(spec, false)
	if err := check(spec); err != nil {
		return nil, err
	}
	if _, taken := s.jobs.Get(spec.GetName()); taken {
		return nil, status.Errorf(codes.AlreadyExists, textJobExists, spec.GetName())
	}
	if s.count(r.GetParent()) >= maxJobs {
		return nil, status.Errorf(codes.ResourceExhausted, "A location can hold %d jobs, and this one does.", maxJobs)
	}
	spec.State = schedulerpb.Job_ENABLED
	return s.store(&job{}, spec)
}

// settings is a copy of what clients may set of a job.
func settings(j *schedulerpb.Job) *schedulerpb.Job {
	j = proto.CloneOf(j)
	j.UserUpdateTime, j.State, j.Status, j.ScheduleTime, j.LastAttemptTime = nil, 0, nil, nil, nil
	return j
}

// count is the number of jobs in a location. mu is held.
func (s *Scheduler) count(parent string) (n int) {
	s.jobs.Ascend(parent+"/jobs/", func(name string, _ *job) bool {
		if !strings.HasPrefix(name, parent+"/jobs/") {
			return false
		}
		n++
		return true
	})
	return n
}

// store makes spec, which is checked and complete, what j is: its schedule begins
// anew. mu is held.
func (s *Scheduler) store(j *job, spec *schedulerpb.Job) (*schedulerpb.Job, error) {
	if s.closed {
		return nil, errClosed()
	}
	now := s.o.Clock.Now()
	next := &job{spec: spec, file: j.file}
	if err := next.understand(); err != nil {
		return nil, invalid("%v", err)
	}
	spec.UserUpdateTime = timestamppb.New(now.Truncate(time.Second))
	due := next.schedule.Next(now, next.zone)
	spec.ScheduleTime = timestamppb.New(due)
	if spec.GetState() != schedulerpb.Job_ENABLED {
		due = time.Time{}
	}
	return s.become(j, next, due)
}

// become journals and applies the next state of j, whose execution is over. mu is
// held, but not while the disk is waited for.
func (s *Scheduler) become(j, next *job, due time.Time) (*schedulerpb.Job, error) {
	if s.closed {
		return nil, errClosed()
	}
	synced, err := s.put(next)
	if err != nil {
		return nil, unrecorded(err)
	}
	if j.inFlight {
		due = time.Time{} // its end decides
	}
	s.wait(j, time.Time{})
	j.spec, j.file, j.run, j.schedule, j.zone = next.spec, next.file, execution{}, next.schedule, next.zone
	s.jobs.Set(j.spec.GetName(), j)
	s.wait(j, due)
	s.start()
	spec := j.spec
	s.mu.Unlock()
	defer s.mu.Lock()
	return spec, unrecorded(synced.Wait())
}

// find returns a job. mu is held.
func (s *Scheduler) find(name string) (*job, error) {
	if !validJob(name) {
		return nil, invalid(textJobName)
	}
	if s.closed {
		return nil, errClosed()
	}
	j, ok := s.jobs.Get(name)
	if !ok {
		return nil, errMissing()
	}
	return j, nil
}

// GetJob implements google.cloud.scheduler.v1.
func (s *Scheduler) GetJob(_ context.Context, r *schedulerpb.GetJobRequest) (*schedulerpb.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.find(r.GetName())
	if err != nil {
		return nil, err
	}
	return j.spec, nil
}

// ListJobs implements google.cloud.scheduler.v1, in lexicographic order.
func (s *Scheduler) ListJobs(_ context.Context, r *schedulerpb.ListJobsRequest) (*schedulerpb.ListJobsResponse, error) {
	if !validLocation(r.GetParent()) {
		return nil, invalid(textLocationName)
	}
	size := int(r.GetPageSize())
	switch {
	case size < 0:
		return nil, invalid("Page size %d cannot be negative.", size)
	case size == 0 || size > maxJobsPage:
		size = maxJobsPage
	}
	now := s.o.Clock.Now()
	after, err := openToken(now, r.GetPageToken(), r.GetParent())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed()
	}
	page := new(schedulerpb.ListJobsResponse)
	prefix := r.GetParent() + "/jobs/"
	s.jobs.Ascend(max(prefix, after), func(name string, j *job) bool {
		switch {
		case !strings.HasPrefix(name, prefix):
			return false
		case name <= after:
			return true
		case len(page.Jobs) == size:
			page.NextPageToken = newToken(now, r.GetParent(), page.Jobs[size-1].GetName())
			return false
		}
		page.Jobs = append(page.Jobs, j.spec)
		return true
	})
	return page, nil
}

// UpdateJob implements google.cloud.scheduler.v1. Without a mask all settings are
// replaced.
func (s *Scheduler) UpdateJob(_ context.Context, r *schedulerpb.UpdateJobRequest) (*schedulerpb.Job, error) {
	if r.GetJob() == nil {
		return nil, invalid("Job is required.")
	}
	paths, err := masked(r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.find(r.GetJob().GetName())
	if err != nil {
		return nil, err
	}
	if j.file {
		return nil, errFile(r.GetJob().GetName())
	}
	spec := proto.CloneOf(j.spec)
	apply(spec, settings(r.GetJob()), paths)
	complete(spec, !hasPath(paths, "retry_config")) // else 0 doublings are there on purpose
	if err := check(spec); err != nil {
		return nil, err
	}
	return s.store(j, spec)
}

// DeleteJob implements google.cloud.scheduler.v1.
func (s *Scheduler) DeleteJob(_ context.Context, r *schedulerpb.DeleteJobRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.find(r.GetName())
	if err != nil {
		return nil, err
	}
	if j.file {
		return nil, errFile(r.GetName())
	}
	if err := s.drop(j); err != nil {
		return nil, err
	}
	return new(emptypb.Empty), nil
}

// drop deletes a job. mu is held, but for the wait for the disk.
func (s *Scheduler) drop(j *job) error {
	synced, err := s.remove(j.spec.GetName())
	if err != nil {
		return unrecorded(err)
	}
	s.wait(j, time.Time{})
	s.jobs.Delete(j.spec.GetName())
	s.mu.Unlock()
	defer s.mu.Lock()
	return unrecorded(synced.Wait())
}

// PauseJob implements google.cloud.scheduler.v1. What is in flight goes on, and
// isn't retried.
func (s *Scheduler) PauseJob(_ context.Context, r *schedulerpb.PauseJobRequest) (*schedulerpb.Job, error) {
	return s.turn(r.GetName(), schedulerpb.Job_ENABLED, schedulerpb.Job_PAUSED, "paused")
}

// ResumeJob implements google.cloud.scheduler.v1. Times that passed meanwhile are
// not made up for.
func (s *Scheduler) ResumeJob(_ context.Context, r *schedulerpb.ResumeJobRequest) (*schedulerpb.Job, error) {
	return s.turn(r.GetName(), schedulerpb.Job_PAUSED, schedulerpb.Job_ENABLED, "resumed")
}

func (s *Scheduler) turn(name string, from, to schedulerpb.Job_State, verb string) (*schedulerpb.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.find(name)
	if err != nil {
		return nil, err
	}
	if state := j.spec.GetState(); state != from {
		return nil, status.Errorf(codes.FailedPrecondition, "Job must be in state %s to be %s; it is %s.", from, verb, state)
	}
	next := &job{spec: proto.CloneOf(j.spec), file: j.file, schedule: j.schedule, zone: j.zone}
	next.spec.State = to
	var due time.Time
	if to == schedulerpb.Job_ENABLED {
		due = j.schedule.Next(s.o.Clock.Now(), j.zone)
		next.spec.ScheduleTime = timestamppb.New(due)
	}
	return s.become(j, next, due)
}

// RunJob implements google.cloud.scheduler.v1. It doesn't wait for the attempt.
// Where an execution is going on, the attempt is one beside it and not retried.
func (s *Scheduler) RunJob(_ context.Context, r *schedulerpb.RunJobRequest) (*schedulerpb.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.find(r.GetName())
	if err != nil {
		return nil, err
	}
	if s.running >= maxRunning {
		return nil, status.Error(codes.ResourceExhausted, "Too many jobs are running; RunJob can't start another one now.")
	}
	now := s.o.Clock.Now()
	if !j.run.pending() {
		if err := s.begin(j, now, now); err != nil {
			return nil, unrecorded(err)
		}
		return j.spec, nil
	}
	spec := proto.CloneOf(j.spec)
	spec.LastAttemptTime = timestamppb.New(now)
	if _, err := s.put(&job{spec: spec, file: j.file, run: j.run, inFlight: j.inFlight}); err != nil {
		return nil, unrecorded(err)
	}
	j.spec = spec
	s.attempt(j, now, s.finishExtra)
	return j.spec, nil
}
