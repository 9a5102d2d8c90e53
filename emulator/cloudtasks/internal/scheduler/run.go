package scheduler

import (
	"time"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// journalPause is how long an attempt waits that can't be recorded.
const journalPause = time.Second

// start begins the attempts that are due, as far as the bound lets it, and sets
// the timer for the next. mu is held.
func (s *Scheduler) start() {
	if s.closed {
		return
	}
	now := s.o.Clock.Now()
	for s.running < maxRunning { // the end of an attempt starts the next
		j, ok := s.waiting.Min()
		if !ok {
			return
		}
		if j.due.After(now) {
			s.timer.ResetAt(j.due)
			return
		}
		if err := s.begin(j, j.due, now); err != nil {
			s.o.Log.Error("an attempt can't be recorded; it waits", "job", j.spec.GetName(), "error", err)
			s.wait(j, now.Add(journalPause))
		}
	}
}

// begin starts an attempt of j: the next one of its execution, or the first of
// one planned for a time. mu is held.
func (s *Scheduler) begin(j *job, planned, now time.Time) error {
	run := j.run
	if !run.pending() {
		run = execution{planned: planned, first: now}
	}
	spec := proto.CloneOf(j.spec)
	spec.LastAttemptTime = timestamppb.New(now)
	if next := j.next(run, now); !next.IsZero() {
		spec.ScheduleTime = timestamppb.New(next)
	}
	if _, err := s.put(&job{spec: spec, file: j.file, run: run, inFlight: true}); err != nil {
		return err
	}
	s.wait(j, time.Time{})
	j.spec, j.run, j.inFlight = spec, run, true
	s.attempt(j, run.planned, s.finish)
	return nil
}

// attempt makes one in a goroutine of its own and hands the result over, mu being
// held. mu is held here, too.
func (s *Scheduler) attempt(j *job, planned time.Time, then func(*job, result)) {
	s.running++
	spec, zone := j.spec, j.zone
	s.tasks.Go(func() {
		r := s.deliver(s.ctx, spec, planned.In(zone))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
		if s.closed {
			return // without a record: it is attempted again
		}
		if current, ok := s.jobs.Get(spec.GetName()); ok && current == j {
			then(j, r)
		}
		s.start()
	})
}

// next is the first time of the schedule after the execution: those that had
// passed when it began are part of it.
func (j *job) next(run execution, now time.Time) time.Time {
	after := now
	if run.pending() && !j.schedule.FromEnd() {
		after = run.first
	}
	return j.schedule.Next(after, j.zone)
}

// finish records the result of an attempt of the execution, and decides what
// comes next. mu is held.
func (s *Scheduler) finish(j *job, r result) {
	now := s.o.Clock.Now()
	next := j.next(j.run, now)
	run := execution{}
	if !r.ok() && j.run.pending() {
		run = j.run
		if !r.uncounted {
			run.failures++
		}
		retry, again := retryAt(j.spec.GetRetryConfig(), run, r.uncounted, now)
		if again && retry.Before(next) {
			next = retry
		} else {
			run = execution{}
		}
	}
	spec := proto.CloneOf(j.spec)
	spec.Status = r.status
	if spec.GetState() != schedulerpb.Job_ENABLED {
		next, run = time.Time{}, execution{}
	} else if !next.IsZero() {
		spec.ScheduleTime = timestamppb.New(next)
	}
	j.inFlight = false
	s.settle(j, spec, run)
	s.wait(j, next)
}

// finishExtra records the result of an attempt that RunJob has added. mu is held.
func (s *Scheduler) finishExtra(j *job, r result) {
	if j.inFlight {
		return // the status is that of the execution
	}
	spec := proto.CloneOf(j.spec)
	spec.Status = r.status
	s.settle(j, spec, j.run)
}

// settle records what an attempt has changed. Where that fails, it is known until
// a restart, after which the attempt is made again. mu is held.
func (s *Scheduler) settle(j *job, spec *schedulerpb.Job, run execution) {
	if _, err := s.put(&job{spec: spec, file: j.file, run: run}); err != nil {
		s.o.Log.Error("the result of an attempt can't be recorded", "job", spec.GetName(), "error", err)
	}
	// The order of waiting depends on the name alone besides the due time.
	j.spec, j.run = spec, run
}

// retryAt is when a failed execution is attempted again, if it is: until the
// number of retries and the duration are both used up. What doesn't count is
// retried in any case.
func retryAt(c *schedulerpb.RetryConfig, run execution, uncounted bool, now time.Time) (time.Time, bool) {
	backoff := engine.Retry{
		MinBackoff: c.GetMinBackoffDuration().AsDuration(), MaxBackoff: c.GetMaxBackoffDuration().AsDuration(),
		MaxDoublings: int(c.GetMaxDoublings()),
	}
	at := now.Add(backoff.Backoff(run.failures))
	if uncounted {
		return at, true
	}
	count := int(c.GetRetryCount())
	return at, count > 0 && (run.failures <= count || now.Sub(run.first) < c.GetMaxRetryDuration().AsDuration())
}
