package scheduler

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/identity"
)

const parent = "projects/p/locations/l"

// A target answers after a while, some requests with an error.
type target struct {
	mu   sync.Mutex
	rand *rand.Rand
	took time.Duration // at most
	n    int
}

func (t *target) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.n++
	var took time.Duration
	if t.took > 0 {
		took = time.Duration(t.rand.Int64N(int64(t.took)))
	}
	code := []int{200, 200, 500, 404}[t.rand.IntN(4)]
	t.mu.Unlock()
	select {
	case <-time.After(took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if code == 404 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("answer"))}, nil
}

func open(t *testing.T, o Options) *Scheduler {
	t.Helper()
	if o.Transport == nil {
		o.Transport = &target{rand: rand.New(rand.NewPCG(1, 1))}
	}
	o.Tokens = identity.New("")
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newJob(id, schedule string) *schedulerpb.CreateJobRequest {
	return &schedulerpb.CreateJobRequest{Parent: parent, Job: &schedulerpb.Job{
		Name: parent + "/jobs/" + id, Schedule: schedule, RetryConfig: &schedulerpb.RetryConfig{RetryCount: 2},
		Target: &schedulerpb.Job_HttpTarget{HttpTarget: &schedulerpb.HttpTarget{Uri: "http://host/" + id}},
	}}
}

// invariants finds what must never be, whatever happened before.
func (s *Scheduler) invariants(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Clock.Now()
	waiting := 0
	s.jobs.Scan(func(name string, j *job) bool {
		if name != j.spec.GetName() {
			t.Errorf("%s is kept under the name %s", j.spec.GetName(), name)
		}
		enabled := j.spec.GetState() == schedulerpb.Job_ENABLED
		switch {
		case j.inFlight && !j.due.IsZero():
			t.Errorf("%s is in flight and due at %v", name, j.due)
		case enabled && !j.inFlight && j.due.IsZero():
			t.Errorf("%s is enabled, and waits for nothing", name)
		case !enabled && !j.due.IsZero():
			t.Errorf("%s is %v, and due at %v", name, j.spec.GetState(), j.due)
		case !j.inFlight && j.run.pending() && !j.due.After(now):
			t.Errorf("%s has an attempt due at %v that has not begun", name, j.due)
		}
		if !j.due.IsZero() {
			waiting++
			if found, ok := s.waiting.Get(j); !ok || found != j {
				t.Errorf("%s is due, and isn't among those that wait", name)
			}
			if !j.spec.GetScheduleTime().AsTime().Equal(j.due.Truncate(time.Nanosecond)) {
				t.Errorf("%s is due at %v, and says %v", name, j.due, j.spec.GetScheduleTime().AsTime())
			}
		}
		return true
	})
	if n := s.waiting.Len(); n != waiting {
		t.Errorf("%d wait, but %d jobs are due", n, waiting)
	}
}

// Calls of all kinds at random moments, from several sides, with a restart now
// and then and checkpoints all the time.
func TestRandomCalls(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				r := rand.New(rand.NewPCG(seed, 0))
				to := &target{rand: rand.New(rand.NewPCG(seed, 1)), took: 3 * time.Minute}
				for range 3 {
					s := open(t, Options{Dir: dir, Transport: to})
					s.check.least = 20_000
					s.invariants(t)
					for range 40 {
						var callers sync.WaitGroup
						for range 3 {
							own := rand.New(rand.NewPCG(r.Uint64(), 0))
							callers.Go(func() { call(t, s, own) })
						}
						callers.Wait()
						s.invariants(t)
						time.Sleep(time.Duration(r.IntN(200)) * time.Second)
						synctest.Wait()
						s.invariants(t)
					}
					before := s.all()
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					copied := t.TempDir() // as a kill would leave it, or a copy
					if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
					again := open(t, Options{Dir: copied, Transport: to})
					after := again.all()
					for name, j := range before {
						if got := after[name]; got == nil || !same(got, j) {
							t.Errorf("before the restart\n%v\nafter it\n%v", j, got)
						}
					}
					if len(after) != len(before) {
						t.Errorf("%d jobs after a restart, %d before", len(after), len(before))
					}
					if err := again.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if to.n == 0 {
					t.Error("no job ran")
				}
			})
		})
	}
}

// same compares what doesn't depend on the time of the restart.
func same(a, b *schedulerpb.Job) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, j := range []*schedulerpb.Job{a, b} {
		j.ScheduleTime, j.LastAttemptTime = nil, nil // an attempt that was cut off begins at once
	}
	return proto.Equal(a, b)
}

func (s *Scheduler) all() map[string]*schedulerpb.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*schedulerpb.Job{}
	s.jobs.Scan(func(name string, j *job) bool {
		all[name] = j.spec
		return true
	})
	return all
}

// call makes one call. Errors are those that the state of a job explains.
func call(t *testing.T, s *Scheduler, r *rand.Rand) {
	ctx := t.Context()
	id := fmt.Sprint("j", r.IntN(6))
	name := parent + "/jobs/" + id
	schedule := []string{"* * * * *", "*/7 * * * *", "every 3 minutes", "every 10 mins from 00:00 to 06:00"}[r.IntN(4)]
	var err error
	switch r.IntN(9) {
	case 0, 1, 2:
		_, err = s.CreateJob(ctx, newJob(id, schedule))
	case 3:
		_, err = s.UpdateJob(ctx, &schedulerpb.UpdateJobRequest{
			Job: &schedulerpb.Job{Name: name, Schedule: schedule}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"schedule"}}})
	case 4:
		_, err = s.PauseJob(ctx, &schedulerpb.PauseJobRequest{Name: name})
	case 5:
		_, err = s.ResumeJob(ctx, &schedulerpb.ResumeJobRequest{Name: name})
	case 6:
		_, err = s.DeleteJob(ctx, &schedulerpb.DeleteJobRequest{Name: name})
	case 7:
		_, err = s.RunJob(ctx, &schedulerpb.RunJobRequest{Name: name})
	case 8:
		var jobs []*schedulerpb.Job
		for i := range r.IntN(3) {
			jobs = append(jobs, &schedulerpb.Job{
				Name: fmt.Sprint("cron", i), Schedule: schedule,
				Target: &schedulerpb.Job_AppEngineHttpTarget{AppEngineHttpTarget: &schedulerpb.AppEngineHttpTarget{HttpMethod: schedulerpb.HttpMethod_GET}},
			})
		}
		if err := s.SetFile(parent, jobs); err != nil {
			t.Error(err)
		}
	}
	switch status.Code(err) {
	case codes.OK, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition:
	default:
		t.Error(err)
	}
}

// A journal that refuses records fails calls, and changes nothing.
func TestJournalRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Dir: t.TempDir()})
		if _, err := s.CreateJob(t.Context(), newJob("a", "* * * * *")); err != nil {
			t.Fatal(err)
		}
		if err := s.log.Close(); err != nil {
			t.Fatal(err)
		}
		before := s.all()
		for what, err := range map[string]error{
			"CreateJob": func() error { _, err := s.CreateJob(t.Context(), newJob("b", "* * * * *")); return err }(),
			"DeleteJob": func() error {
				_, err := s.DeleteJob(t.Context(), &schedulerpb.DeleteJobRequest{Name: parent + "/jobs/a"})
				return err
			}(),
			"PauseJob": func() error {
				_, err := s.PauseJob(t.Context(), &schedulerpb.PauseJobRequest{Name: parent + "/jobs/a"})
				return err
			}(),
			"RunJob": func() error {
				_, err := s.RunJob(t.Context(), &schedulerpb.RunJobRequest{Name: parent + "/jobs/a"})
				return err
			}(),
		} {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v, want UNAVAILABLE", what, err)
			}
		}
		for name, j := range s.all() {
			if before[name] != j || len(s.all()) != len(before) {
				t.Errorf("%s has changed", name)
			}
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if to, ok := s.o.Transport.(*target); !ok || to.n != 0 {
			t.Error("an attempt was made that is not recorded")
		}
	})
}

// A name that the API has taken isn't taken away by a file, and nothing of the
// file comes in.
func TestFileMeetsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{})
		if _, err := s.CreateJob(t.Context(), newJob("cron-b", "* * * * *")); err != nil {
			t.Fatal(err)
		}
		job := func(id string) *schedulerpb.Job {
			j := newJob(id, "every day 00:00").GetJob()
			j.Name = id
			return j
		}
		err := s.SetFile(parent, []*schedulerpb.Job{job("cron-a"), job("cron-b")})
		if want := "job " + parent + "/jobs/cron-b: the name is taken by a job that is not from cron.yaml: delete that one"; err == nil || err.Error() != want {
			t.Errorf("SetFile: %v, want %s", err, want)
		}
		if n := len(s.all()); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
		for _, bad := range []struct{ parent, id, want string }{
			{"p", "a", `location "p": Location name must be formatted`}, {parent, "a b", "Job name must be formatted"},
		} {
			if err := s.SetFile(bad.parent, []*schedulerpb.Job{job(bad.id)}); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("SetFile: %v, want %s", err, bad.want)
			}
		}
	})
}

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for i, err := range []error{
			func() error { _, err := s.CreateJob(t.Context(), newJob("b", "* * * * *")); return err }(),
			func() error {
				_, err := s.ListJobs(t.Context(), &schedulerpb.ListJobsRequest{Parent: parent})
				return err
			}(),
			func() error {
				_, err := s.GetJob(t.Context(), &schedulerpb.GetJobRequest{Name: parent + "/jobs/a"})
				return err
			}(),
		} {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("call %d: %v", i, err)
			}
		}
	})
	if _, err := Open(Options{}); err == nil {
		t.Error("a scheduler without a transport opens")
	}
}

// What isn't a record is refused, never taken for one.
func FuzzReplay(f *testing.F) {
	j := &job{spec: newJob("a", "* * * * *").GetJob(), file: true, inFlight: true, run: execution{time.UnixMicro(5), time.UnixMicro(-7), 3}}
	record, err := appendJob(nil, j)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add(append([]byte{opDelete}, "name"...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, record []byte) {
		s := &Scheduler{}
		if err := s.replay(record); err != nil {
			return
		}
		for name, spec := range s.all() {
			if spec.GetName() != name {
				t.Errorf("%q is kept as %q", spec.GetName(), name)
			}
		}
		if j, err := decodeJob(record); err == nil && record[0] == opPut {
			again, err := appendJob(nil, j)
			if err != nil {
				t.Fatal(err)
			}
			k, err := decodeJob(again)
			if err != nil || !proto.Equal(j.spec, k.spec) || j.run != k.run || j.file != k.file || j.inFlight != k.inFlight {
				t.Errorf("%v and %v, %v", j, k, err)
			}
		}
	})
}

// A folder of another version is refused with an error that says so.
func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if _, err := s.log.Append([]byte{99}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, Transport: &target{}, Tokens: identity.New("")}); err == nil || !strings.Contains(err.Error(), "kind 99 is not known") {
		t.Errorf("Open: %v", err)
	}
	if entries, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(entries) == 0 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}
