package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const location = "projects/p/locations/l/queues/"

var settings = Settings{
	Rate: 500, Burst: 100, MaxConcurrent: 1000,
	Retry: Retry{MaxAttempts: 100, MinBackoff: time.Second, MaxBackoff: time.Hour, MaxDoublings: 16},
}

// A stub is a Deliver function that counts, and answers as it is told.
type stub struct {
	mu      sync.Mutex
	seen    []Delivery
	at      []time.Time
	results map[string][]Result // by task id; then done

	hold     chan struct{} // when not nil, deliveries wait for it
	now, top int           // deliveries at this moment, and at most
	byQueue  map[string]int
}

func (s *stub) deliver(ctx context.Context, d *Delivery) Result {
	s.mu.Lock()
	s.seen = append(s.seen, *d)
	s.at = append(s.at, time.Now())
	if s.byQueue == nil {
		s.byQueue = make(map[string]int)
	}
	s.byQueue[d.Queue]++
	s.now++
	s.top = max(s.top, s.now)
	r := Result{Done: true, Responded: true, Executed: true, Status: 200}
	if rs := s.results[d.ID]; len(rs) > 0 {
		r, s.results[d.ID] = rs[0], rs[1:]
	}
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return r
}

func (s *stub) deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func open(t *testing.T, s *stub, o Options) *Engine {
	t.Helper()
	o.Deliver = s.deliver
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var failure = Result{Responded: true, Status: 500, Code: 13, Message: "INTERNAL"}

func TestQueuesTakeTurnsForTheGlobalBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{hold: make(chan struct{})}
		e := open(t, s, Options{MaxInFlight: 4, Unlimited: true})
		for _, q := range []string{"a", "b"} {
			must[Queue](t)(e.CreateQueue(location+q, settings, nil))
			must[Queue](t)(e.PauseQueue(location + q))
			for range 100 {
				must[Task](t)(e.CreateTask(location+q, NewTask{}))
			}
		}
		must[Queue](t)(e.ResumeQueue(location + "a")) // has a backlog of 100 before b may go
		must[Queue](t)(e.ResumeQueue(location + "b"))
		for range 60 {
			synctest.Wait()
			s.hold <- struct{}{}
		}
		synctest.Wait()
		s.mu.Lock()
		if s.top != 4 {
			t.Errorf("%d deliveries at a time, want 4", s.top)
		}
		if a, b := s.byQueue[location+"a"], s.byQueue[location+"b"]; a-b > 4 || a+b != 64 {
			t.Errorf("%d deliveries from a and %d from b", a, b)
		}
		s.mu.Unlock()
		close(s.hold)
		synctest.Wait()
		if n := len(s.deliveries()); n != 200 {
			t.Errorf("%d deliveries, want 200", n)
		}
	})
}

func TestConcurrencyIsBoundedPerQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{hold: make(chan struct{})}
		e := open(t, s, Options{})
		narrow := settings
		narrow.MaxConcurrent = 3
		must[Queue](t)(e.CreateQueue(location+"a", narrow, nil))
		for range 20 {
			must[Task](t)(e.CreateTask(location+"a", NewTask{}))
		}
		synctest.Wait()
		if got := e.Stats().Queues[0]; got.Running != 3 || got.Waiting != 17 || got.Tasks != 20 {
			t.Errorf("%+v, want 3 running and 17 waiting", got)
		}
		close(s.hold)
		synctest.Wait()
		if n := len(s.deliveries()); n != 20 || s.top != 3 {
			t.Errorf("%d deliveries, %d at a time; want 20 and 3", n, s.top)
		}
	})
}

func TestRateIsKept(t *testing.T) {
	for _, tt := range []struct {
		name      string
		rate      float64
		burst     int
		unlimited bool
		within    time.Duration
		want      int
	}{
		{"500 a second", 500, 100, false, 4 * time.Second, 100 + 2000},
		{"one in 5 s", 0.2, 1, false, time.Minute, 1 + 12},
		{"unlimited", 0.2, 1, true, time.Second, 2500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(stub)
				e := open(t, s, Options{Unlimited: tt.unlimited})
				limited := settings
				limited.Rate, limited.Burst = tt.rate, tt.burst
				must[Queue](t)(e.CreateQueue(location+"a", limited, nil))
				due := e.now().Add(time.Hour)
				for range 2500 {
					must[Task](t)(e.CreateTask(location+"a", NewTask{Due: due}))
				}
				time.Sleep(time.Hour + tt.within)
				synctest.Wait()
				if n := len(s.deliveries()); n != tt.want {
					t.Errorf("%d deliveries in %v, want %d", n, tt.within, tt.want)
				}
			})
		})
	}
}

// TestARaisedRateTakesEffectAtOnce: what a slow queue would have had to wait for
// doesn't hold it back once it is fast, nor does a clock that was set back.
func TestARaisedRateTakesEffectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{}
		e := open(t, s, Options{})
		slow := settings
		slow.Rate, slow.Burst = 1.0/3600, 1
		must[Queue](t)(e.CreateQueue(location+"q", slow, nil))
		for range 5 {
			must[Task](t)(e.CreateTask(location+"q", NewTask{}))
		}
		synctest.Wait()
		if n := len(s.deliveries()); n != 1 {
			t.Fatalf("%d deliveries at one an hour, want 1", n)
		}
		must[Queue](t)(e.UpdateQueue(location+"q", func(q *Queue) error { q.Settings = settings; return nil }))
		time.Sleep(time.Second)
		if n := len(s.deliveries()); n != 5 {
			t.Errorf("%d deliveries a second after the rate was raised to 500/s, want 5", n)
		}
	})
}

func TestTasksGoInTheOrderOfTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stub)
		e := open(t, s, Options{MaxInFlight: 1})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		start := e.now()
		for _, n := range []struct {
			id    string
			after time.Duration
		}{{"c", time.Hour + 2*time.Microsecond}, {"a", time.Minute}, {"b", time.Hour + time.Microsecond}, {"d", time.Hour + 2*time.Microsecond}, {"late", 29 * 24 * time.Hour}} {
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: n.id, Due: start.Add(n.after)}))
		}
		time.Sleep(30 * 24 * time.Hour)
		var got []string
		for i, d := range s.deliveries() {
			got = append(got, d.ID)
			if late := s.at[i].Sub(time.UnixMicro(int64(d.Due))); late != 0 {
				t.Errorf("%s is delivered %v late", d.ID, late)
			}
		}
		if diff := cmp.Diff([]string{"a", "b", "c", "d", "late"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPauseStopsDispatchAndResumeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stub)
		e := open(t, s, Options{})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "soon", Due: e.now().Add(time.Second)}))
		must[Queue](t)(e.PauseQueue(location + "a"))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "now"}))
		time.Sleep(time.Hour)
		if n := len(s.deliveries()); n != 0 {
			t.Fatalf("%d deliveries from a paused queue", n)
		}
		must[Queue](t)(e.ResumeQueue(location + "a"))
		synctest.Wait()
		if n := len(s.deliveries()); n != 2 {
			t.Errorf("%d deliveries after resuming, want 2", n)
		}
	})
}

func TestRunTask(t *testing.T) {
	t.Run("of a paused queue, in place of the scheduled run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &stub{results: map[string][]Result{"a": {failure}}, hold: make(chan struct{})}
			e := open(t, s, Options{})
			must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
			must[Queue](t)(e.PauseQueue(location + "a"))
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a", Due: e.now().Add(20 * time.Minute)}))
			called := e.now()
			if got := must[Task](t)(e.RunTask(location+"a", "a")); got.Dispatches != 1 {
				t.Errorf("dispatch count %d, want 1", got.Dispatches)
			}
			time.Sleep(time.Second / 2)
			close(s.hold)
			synctest.Wait()
			if got := must[Task](t)(e.GetTask(location+"a", "a")); got.Due != called.Add(time.Second) {
				t.Errorf("after the failure due %v after the call, want the backoff of 1 s", got.Due.Sub(called))
			}
			must[Queue](t)(e.ResumeQueue(location + "a"))
			time.Sleep(30 * time.Minute)
			if n := len(s.deliveries()); n != 2 {
				t.Errorf("%d deliveries, want the forced one and its retry", n)
			}
			if _, err := e.RunTask(location+"a", "a"); !errors.Is(err, ErrTaskTombstoned) {
				t.Errorf("running a finished task: %v", err)
			}
		})
	})
	t.Run("beside a running delivery", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &stub{hold: make(chan struct{}), results: map[string][]Result{"a": {failure, failure}}}
			e := open(t, s, Options{})
			must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
			synctest.Wait()
			must[Task](t)(e.RunTask(location+"a", "a"))
			synctest.Wait()
			if n := len(s.deliveries()); n != 2 {
				t.Fatalf("%d deliveries at once, want 2", n)
			}
			s.hold <- struct{}{}
			time.Sleep(time.Hour)
			if n := len(s.deliveries()); n != 2 {
				t.Fatalf("%d deliveries while one is still running, want 2", n)
			}
			close(s.hold)
			time.Sleep(time.Hour)
			if n := len(s.deliveries()); n != 3 {
				t.Errorf("%d deliveries, want the third that succeeds", n)
			}
		})
	})
	t.Run("is bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &stub{hold: make(chan struct{})}
			e := open(t, s, Options{MaxInFlight: 2})
			must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
			for range 3 {
				must[Task](t)(e.RunTask(location+"a", "a"))
			}
			if _, err := e.RunTask(location+"a", "a"); !errors.Is(err, ErrTooManyForced) {
				t.Errorf("a fifth delivery: %v", err)
			}
		})
	})
}

func TestWhatIsRemovedInFlightStaysRemoved(t *testing.T) {
	for _, tt := range []struct {
		name   string
		remove func(*Engine) error
		want   error
	}{
		{"delete task", func(e *Engine) error { return e.DeleteTask(location+"a", "a") }, ErrTaskTombstoned},
		{"purge", func(e *Engine) error { _, err := e.PurgeQueue(location + "a"); return err }, ErrTaskTombstoned},
		{"delete queue", func(e *Engine) error { return e.DeleteQueue(location + "a") }, ErrTaskMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stub{hold: make(chan struct{}), results: map[string][]Result{"a": {failure}}}
				e := open(t, s, Options{})
				must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
				must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
				must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "waits", Due: e.now().Add(time.Hour)}))
				synctest.Wait()
				if err := tt.remove(e); err != nil {
					t.Fatal(err)
				}
				close(s.hold)
				time.Sleep(30 * time.Minute)
				if _, err := e.GetTask(location+"a", "a"); !errors.Is(err, tt.want) {
					t.Errorf("GetTask: %v, want %v", err, tt.want)
				}
				if n := len(s.deliveries()); n != 1 {
					t.Errorf("%d deliveries, want 1", n)
				}
				if n := e.Stats().InFlight; n != 0 {
					t.Errorf("%d in flight", n)
				}
			})
		})
	}
}

func TestNamesStayTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stub)
		e := open(t, s, Options{TaskTombstone: time.Hour, QueueTombstone: 2 * time.Hour})
		q := location + "a"
		must[Queue](t)(e.CreateQueue(q, settings, nil))
		expect := func(want error, err error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		create := func() error { _, err := e.CreateTask(q, NewTask{ID: "a"}); return err }
		expect(nil, create())
		expect(ErrTaskExists, create())
		synctest.Wait() // delivered
		time.Sleep(time.Hour - time.Microsecond)
		expect(ErrTaskTombstoned, create())
		time.Sleep(time.Microsecond)
		expect(nil, create())

		expect(nil, e.DeleteQueue(q))
		_, err := e.CreateQueue(q, settings, nil)
		expect(ErrQueueTombstoned, err)
		_, err = e.GetQueue(q)
		expect(ErrQueueMissing, err)
		time.Sleep(2 * time.Hour)
		_, err = e.CreateQueue(q, settings, nil)
		expect(nil, err)
		expect(nil, create())
	})
}

func TestTasksEndAtTheRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stub)
		e := open(t, s, Options{})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		must[Queue](t)(e.PauseQueue(location + "a"))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
		time.Sleep(Retention + time.Second)
		if list, _, err := e.ListTasks(location+"a", "", 10); err != nil || len(list) != 0 {
			t.Errorf("tasks over the retention: %v, %v", list, err)
		}
		must[Queue](t)(e.ResumeQueue(location + "a"))
		synctest.Wait()
		if n := len(s.deliveries()); n != 0 {
			t.Errorf("%d deliveries, want none", n)
		}
		if n := e.Stats().Queues[0].Tasks; n != 0 {
			t.Errorf("%d tasks, want none", n)
		}
	})
}

func TestRetryRuleOfTheTaskWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{results: map[string][]Result{"own": {failure, failure, failure}, "queue's": {failure, failure, failure}}}
		e := open(t, s, Options{})
		twice := settings
		twice.Retry.MaxAttempts = 2
		must[Queue](t)(e.CreateQueue(location+"a", twice, nil))
		own := Retry{MaxAttempts: -1, MinBackoff: time.Minute, MaxBackoff: time.Minute}
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "own", Retry: &own}))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "queue's"}))
		time.Sleep(time.Hour)
		count := map[string]int{}
		for _, d := range s.deliveries() {
			count[d.ID]++
		}
		if diff := cmp.Diff(map[string]int{"own": 4, "queue's": 2}, count); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

// A duplicate comes at once or later, beside the real delivery, and changes
// nothing.
func TestDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stub)
		e := open(t, s, Options{Unlimited: true, Duplicate: func(d *Delivery) (time.Duration, bool) {
			return map[string]time.Duration{"once": 0, "now": 0, "later": time.Minute}[d.ID], d.ID != "once"
		}})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		for _, id := range []string{"once", "now", "later"} {
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: id}))
		}
		count := func() map[string]int {
			count := map[string]int{}
			for _, d := range s.deliveries() {
				count[d.ID]++
				if d.Attempt != 1 {
					t.Errorf("a duplicate of %s calls itself attempt %d", d.ID, d.Attempt)
				}
			}
			return count
		}
		time.Sleep(59 * time.Second)
		if diff := cmp.Diff(map[string]int{"once": 1, "now": 2, "later": 1}, count()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff(map[string]int{"once": 1, "now": 2, "later": 2}, count()); diff != "" {
			t.Errorf("deliveries a minute later (-want +got):\n%s", diff)
		}
		if n := e.Stats(); n.InFlight != 0 || n.Queues[0].Tasks != 0 {
			t.Errorf("left: %+v", n)
		}
	})
}

func TestCloseLeavesTasksAsTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{hold: make(chan struct{})}
		e := open(t, s, Options{Duplicate: func(*Delivery) (time.Duration, bool) { return time.Hour, true }})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		for i := range 50 {
			must[Task](t)(e.CreateTask(location+"a", NewTask{Due: e.now().Add(time.Duration(i%2) * time.Hour)}))
		}
		synctest.Wait()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.CreateTask(location+"a", NewTask{}); !errors.Is(err, ErrClosed) {
			t.Errorf("CreateTask after Close: %v", err)
		}
		if n := e.Stats().Queues[0].Tasks; n != 50 {
			t.Errorf("%d tasks, want 50", n)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	deliver := new(stub).deliver
	for name, o := range map[string]Options{
		"no Deliver":         {},
		"negative in flight": {Deliver: deliver, MaxInFlight: -1},
	} {
		if e, err := Open(o); err == nil {
			e.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func TestListQueues(t *testing.T) {
	e := open(t, new(stub), Options{})
	for _, name := range []string{"projects/p/locations/l/queues/b", "projects/p/locations/l2/queues/x", "projects/p/locations/l/queues/a", "projects/p2/locations/l/queues/y", "projects/p/locations/l/queues/c"} {
		must[Queue](t)(e.CreateQueue(name, settings, nil))
	}
	var pages [][]string
	for after, more := "", true; more; {
		var list []Queue
		var err error
		if list, more, err = e.ListQueues(location, after, 2); err != nil {
			t.Fatal(err)
		}
		var page []string
		for _, q := range list {
			page = append(page, q.Name[len(location):])
			after = q.Name
		}
		pages = append(pages, page)
	}
	if diff := cmp.Diff([][]string{{"a", "b"}, {"c"}}, pages); diff != "" {
		t.Error(diff)
	}
}

func TestQueuesAreBoundedPerLocation(t *testing.T) {
	e := open(t, new(stub), Options{QueueTombstone: -1})
	for i := range MaxQueues {
		must[Queue](t)(e.CreateQueue(location+fmt.Sprint(i), settings, nil))
	}
	if _, err := e.CreateQueue(location+"more", settings, nil); !errors.Is(err, ErrTooManyQueues) {
		t.Errorf("one more: %v", err)
	}
	must[Queue](t)(e.CreateQueue("projects/p/locations/other/queues/more", settings, nil))
	if err := e.DeleteQueue(location + "0"); err != nil {
		t.Fatal(err)
	}
	must[Queue](t)(e.CreateQueue(location+"0", settings, nil)) // no tombstones: free at once
}
