package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"github.com/tidwall/btree"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/identity"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/schedule"
	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// maxRunning bounds the attempts in flight; what is due beyond them waits.
const maxRunning = 500

// Options tunes a Scheduler; the zero values mean what is stated.
type Options struct {
	Dir   string // data folder; "" keeps everything in memory
	Fsync journal.Fsync
	Clock *clock.Clock // nil: the machine's
	Log   *slog.Logger // nil discards

	Transport http.RoundTripper // of the attempts; required
	Tokens    *identity.Tokens  // required

	// AppEngine returns the address, host:port, that stands in for an App Engine
	// service, false if there is none. Nil has none.
	AppEngine func(r *schedulerpb.AppEngineRouting, path string) (address string, ok bool)

	// PubSub is the address of a Pub/Sub emulator; "" is none.
	PubSub string
}

// A Scheduler holds jobs and runs them. It implements google.cloud.scheduler.v1.
type Scheduler struct {
	schedulerpb.UnimplementedCloudSchedulerServer
	o   Options
	log *journal.Journal

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // the timer's goroutine, attempts and checkpoints

	mu      sync.Mutex // orders everything below and the journal
	closed  bool
	jobs    btree.Map[string, *job]
	waiting *btree.BTreeG[*job] // those with a due time, by it
	running int                 // attempts in flight
	timer   *clock.Timer        // for the first of waiting
	check   checkpoints
}

// A job is what is kept of one.
type job struct {
	spec *schedulerpb.Job // as clients see it; replaced, never changed
	file bool             // comes from cron.yaml
	run  execution        // that is not over

	schedule schedule.Schedule
	zone     *time.Location
	due      time.Time // of the next attempt; zero: it waits for nothing
	inFlight bool
}

// An execution is one run of a job with all its attempts.
type execution struct {
	planned  time.Time // by the schedule; zero: there is none
	first    time.Time // when the first attempt began
	failures int       // that count
}

func (r execution) pending() bool { return !r.planned.IsZero() }

// Open starts a scheduler with the jobs that the data folder holds.
func Open(o Options) (*Scheduler, error) {
	if o.Transport == nil || o.Tokens == nil {
		return nil, errors.New("scheduler: a transport and an issuer of tokens are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Scheduler{o: o, waiting: btree.NewBTreeGOptions(before, btree.Options{NoLocks: true})}
	if o.Dir != "" {
		log, err := journal.Open(o.Dir, &journal.Options{Fsync: o.Fsync, Logger: o.Log}, s.replay)
		if err != nil {
			return nil, err
		}
		s.log = log
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	now := o.Clock.Now()
	s.jobs.Scan(func(_ string, j *job) bool {
		s.wait(j, j.revived(now))
		return true
	})
	s.timer = o.Clock.NewTimer(time.Hour)
	s.tasks.Go(s.ring)
	s.start()
	return s, nil
}

// revived is when a job that was read from the journal is due.
func (j *job) revived(now time.Time) time.Time {
	due := j.spec.GetScheduleTime().AsTime()
	cut := j.inFlight
	j.inFlight = false
	switch {
	case cut:
		return now
	case j.spec.GetState() != schedulerpb.Job_ENABLED:
		return time.Time{}
	case !j.run.pending() && due.Before(now): // passed while nothing ran
		return j.schedule.Next(now, j.zone)
	}
	return due
}

// before orders jobs by their due times.
func before(a, b *job) bool {
	if !a.due.Equal(b.due) {
		return a.due.Before(b.due)
	}
	return a.spec.GetName() < b.spec.GetName()
}

// Close cancels the attempts in flight, which are made again after a restart,
// waits for them and closes the journal. Closing twice is harmless.
func (s *Scheduler) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
	if closed {
		return nil
	}
	s.timer.Stop()
	return s.log.Close()
}

// wait sets when j is due; zero is never. mu is held.
func (s *Scheduler) wait(j *job, due time.Time) {
	if !j.due.IsZero() {
		s.waiting.Delete(j)
	}
	j.due = due
	if !due.IsZero() {
		s.waiting.Set(j)
	}
}

// ring starts what is due, until Close.
func (s *Scheduler) ring() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.timer.C:
		}
		s.mu.Lock()
		s.start()
		s.mu.Unlock()
	}
}
