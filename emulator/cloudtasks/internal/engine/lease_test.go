package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/latchwork/latchwork/emulator/internal/clock"
)

func pullSettings() Settings {
	s := settings
	s.Pull = true
	s.Retry.MaxAttempts = -1
	return s
}

func ids(tasks []Task) (ids []string) {
	for _, t := range tasks {
		ids = append(ids, t.ID)
	}
	return ids
}

const pull = location + "pull"

// openPull opens an engine with a pull queue, whose rate of leases is not
// limited.
func openPull(t *testing.T, o Options) (*Engine, *stub) {
	t.Helper()
	s := new(stub)
	o.Unlimited = true
	e := open(t, s, o)
	must[Queue](t)(e.CreateQueue(pull, pullSettings(), nil))
	return e, s
}

func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := openPull(t, Options{})
		start := e.now()
		for i, tag := range []string{"x", "y", "x", "", "y"} {
			must[Task](t)(e.CreateTask(pull, NewTask{ID: fmt.Sprint(i), Tag: tag, Due: start.Add(time.Duration(10-i) * time.Second)}))
		}
		lease := func(l Lease) []string {
			t.Helper()
			if l.Max == 0 {
				l.Max = MaxLeases
			}
			return ids(must[[]Task](t)(e.LeaseTasks(pull, l)))
		}
		want := func(got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("leased %v, want %v", got, want)
			}
		}
		want(lease(Lease{Duration: time.Minute})) // none is due
		time.Sleep(20 * time.Second)
		want(lease(Lease{Max: 1, Duration: 1999 * time.Millisecond}), "4")
		if got := must[Task](t)(e.GetTask(pull, "4")); got.Due != e.now().Add(time.Second) || got.Dispatches != 1 || got.First != 0 {
			t.Errorf("%+v, want a lease of a whole second, counted", got)
		}
		want(lease(Lease{OldestTag: true, Duration: time.Minute}), "3") // the oldest has no tag
		want(lease(Lease{OldestTag: true, Duration: time.Minute}), "2", "0")
		want(lease(Lease{HasTag: true, Tag: "x", Duration: time.Minute}))
		time.Sleep(time.Second)
		want(lease(Lease{HasTag: true, Tag: "y", Duration: time.Minute}), "1", "4")
		want(lease(Lease{Duration: time.Minute}))
		time.Sleep(time.Minute)
		want(lease(Lease{Duration: 0}), "0", "2", "3", "1", "4") // all leases are over, in their order
		if n := len(s.deliveries()); n != 0 {
			t.Errorf("%d deliveries of a pull queue", n)
		}
		if stats := must[QueueStats](t)(e.QueueStats(pull)); stats.Tasks != 5 || stats.Waiting != 5 || stats.Running != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestHeldLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := openPull(t, Options{})
		must[Task](t)(e.CreateTask(pull, NewTask{ID: "a"}))
		first := must[[]Task](t)(e.LeaseTasks(pull, Lease{Max: 1, Duration: time.Minute}))[0]
		time.Sleep(30 * time.Second)
		renewed := must[Task](t)(e.RenewLease(pull, "a", first.Due, time.Minute))
		if renewed.Due != e.now().Add(time.Minute) || renewed.Dispatches != 1 {
			t.Errorf("renewed: %+v", renewed)
		}
		for name, err := range map[string]error{
			"RenewLease":      second(e.RenewLease(pull, "a", first.Due, time.Minute)),
			"CancelLease":     second(e.CancelLease(pull, "a", first.Due)),
			"AcknowledgeTask": e.AcknowledgeTask(pull, "a", first.Due),
		} {
			if !errors.Is(err, ErrLeaseLost) {
				t.Errorf("%s with an old schedule time: %v", name, err)
			}
		}
		time.Sleep(time.Minute)
		if err := e.AcknowledgeTask(pull, "a", renewed.Due); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("AcknowledgeTask after the end of the lease: %v", err)
		}
		again := must[[]Task](t)(e.LeaseTasks(pull, Lease{Max: 1, Duration: time.Hour}))[0]
		cancelled := must[Task](t)(e.CancelLease(pull, "a", again.Due))
		if cancelled.Due != e.now() {
			t.Errorf("cancelled: due at %d, want now", cancelled.Due)
		}
		last := must[[]Task](t)(e.LeaseTasks(pull, Lease{Max: 1, Duration: time.Hour}))[0]
		if last.Dispatches != 3 {
			t.Errorf("leased 3 times, counted %d", last.Dispatches)
		}
		if err := e.AcknowledgeTask(pull, "a", last.Due); err != nil {
			t.Error(err)
		}
		if err := e.AcknowledgeTask(pull, "a", last.Due); !errors.Is(err, ErrTaskTombstoned) {
			t.Errorf("AcknowledgeTask again: %v", err)
		}
	})
}

func TestLeaseRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stub)
		e := open(t, s, Options{})
		must[Queue](t)(e.CreateQueue(pull, pullSettings(), nil))
		must[Queue](t)(e.CreateQueue(location+"push", settings, nil))
		must[Task](t)(e.CreateTask(pull, NewTask{ID: "a"}))
		must[Task](t)(e.CreateTask(location+"push", NewTask{ID: "a", Due: e.now().Add(time.Hour)}))
		good := Lease{Max: 1, Duration: time.Minute}
		for name, tt := range map[string]struct {
			err  error
			want error
		}{
			"lease from a push queue": {second(e.LeaseTasks(location+"push", good)), ErrQueueType},
			"lease from no queue":     {second(e.LeaseTasks(location+"none", good)), ErrQueueMissing},
			"run a pull task":         {second(e.RunTask(pull, "a")), ErrQueueType},
			"acknowledge a push task": {e.AcknowledgeTask(location+"push", "a", 1), ErrQueueType},
			"acknowledge no task":     {e.AcknowledgeTask(pull, "none", 1), ErrTaskMissing},
			"another type": {second(e.UpdateQueue(pull, func(q *Queue) error { q.Settings.Pull = false; return nil })),
				ErrQueueType},
		} {
			if !errors.Is(tt.err, tt.want) {
				t.Errorf("%s: %v, want %v", name, tt.err, tt.want)
			}
		}
		for _, bad := range []Lease{
			{Max: 0, Duration: time.Minute}, {Max: MaxLeases + 1, Duration: time.Minute}, {Max: 1, Duration: -time.Second},
			{Max: 1, Duration: MaxLease + time.Second}, {Max: 1, MaxBytes: -1}, {Max: 1, MaxBytes: MaxLeaseBytes + 1},
		} {
			if _, err := e.LeaseTasks(pull, bad); err == nil {
				t.Errorf("%+v is taken", bad)
			}
		}
		if _, err := e.RenewLease(pull, "a", 1, -time.Second); err == nil || errors.Is(err, ErrLeaseLost) {
			t.Errorf("a lease of -1 s: %v", err)
		}
		must[Queue](t)(e.PauseQueue(pull))
		if _, err := e.LeaseTasks(pull, good); !errors.Is(err, ErrPaused) {
			t.Errorf("lease from a paused queue: %v", err)
		}
		must[Queue](t)(e.ResumeQueue(pull))
		for range leaseRate {
			must[[]Task](t)(e.LeaseTasks(pull, good))
		}
		if _, err := e.LeaseTasks(pull, good); !errors.Is(err, ErrTooManyLeases) {
			t.Errorf("too many leases: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
		must[[]Task](t)(e.LeaseTasks(pull, good))
	})
}

func TestLeasesAreBoundedInBytesAndTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := openPull(t, Options{})
		for i := range 10 {
			must[Task](t)(e.CreateTask(pull, NewTask{ID: fmt.Sprint(i), Spec: make([]byte, 1000)}))
		}
		l := Lease{Max: 10, MaxBytes: 3500}
		if n := len(must[[]Task](t)(e.LeaseTasks(pull, l))); n != 3 {
			t.Errorf("%d tasks of 1000 bytes within 3500", n)
		}
		l.MaxBytes = 10
		if n := len(must[[]Task](t)(e.LeaseTasks(pull, l))); n != 1 {
			t.Errorf("%d tasks where none fits, want one", n)
		}
		must[Queue](t)(e.PurgeQueue(pull))
		twice := &Retry{MaxAttempts: 2}
		must[Task](t)(e.CreateTask(pull, NewTask{ID: "twice", Retry: twice}))
		for range 2 {
			if n := len(must[[]Task](t)(e.LeaseTasks(pull, Lease{Max: 10}))); n != 1 {
				t.Fatalf("%d tasks", n)
			}
		}
		if n := len(must[[]Task](t)(e.LeaseTasks(pull, Lease{Max: 10}))); n != 0 {
			t.Errorf("%d tasks leased a third time", n)
		}
		if _, err := e.GetTask(pull, "twice"); !errors.Is(err, ErrTaskTombstoned) {
			t.Errorf("a task whose leases are used up: %v", err)
		}
	})
}

// Leases against a list that is searched.
func TestLeasesAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := clock.New()
		now.Freeze()
		dir := ""
		if rapid.Bool().Draw(rt, "on disk") {
			dir = t.TempDir()
		}
		o := Options{Dir: dir, Clock: now, Unlimited: true, Deliver: new(stub).deliver, Fsync: "never"}
		e, err := Open(o)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { e.Close() }()
		if _, err := e.CreateQueue(pull, pullSettings(), nil); err != nil {
			rt.Fatal(err)
		}
		type modelled struct {
			made, leases int
			id, tag      string
			due          Micros
		}
		var model []*modelled
		find := func() *modelled {
			if len(model) == 0 {
				rt.Skip()
			}
			return rapid.SampledFrom(model).Draw(rt, "task")
		}
		made := 0
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				made++
				m := &modelled{made: made, id: fmt.Sprint(made), tag: rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "tag"),
					due: e.now().Add(time.Duration(rapid.IntRange(0, 5).Draw(rt, "seconds")) * time.Second)}
				if _, err := e.CreateTask(pull, NewTask{ID: m.id, Tag: m.tag, Due: m.due}); err != nil {
					rt.Fatal(err)
				}
				model = append(model, m)
			},
			"lease": func(rt *rapid.T) {
				l := Lease{
					Max: rapid.IntRange(1, 4).Draw(rt, "max"), Duration: time.Duration(rapid.IntRange(0, 3).Draw(rt, "duration")) * time.Second,
					HasTag: rapid.Bool().Draw(rt, "has tag"), OldestTag: rapid.Bool().Draw(rt, "oldest"), Tag: "a",
				}
				slices.SortFunc(model, func(a, b *modelled) int { return cmp.Or(int(a.due-b.due), a.made-b.made) })
				tag := l.Tag
				if !l.HasTag && l.OldestTag && len(model) > 0 {
					tag = model[0].tag
				}
				var want []string
				until := e.now().Add(l.Duration)
				for _, m := range model {
					if m.due <= e.now() && (m.tag == tag || !l.HasTag && !l.OldestTag) && len(want) < l.Max {
						want = append(want, m.id)
					}
				}
				got, err := e.LeaseTasks(pull, l)
				if err != nil {
					rt.Fatal(err)
				}
				have := ids(got)
				slices.Sort(have)
				slices.Sort(want)
				if !slices.Equal(have, want) {
					rt.Fatalf("leased %v, want %v", have, want)
				}
				for _, m := range model {
					if slices.Contains(want, m.id) {
						m.due, m.leases = until, m.leases+1
					}
				}
			},
			"acknowledge": func(rt *rapid.T) {
				m := find()
				err := e.AcknowledgeTask(pull, m.id, m.due)
				if held := m.due > e.now(); held != (err == nil) {
					rt.Fatalf("held: %v, %v", held, err)
				}
				if err == nil {
					model = slices.DeleteFunc(model, func(o *modelled) bool { return o == m })
				}
			},
			"cancel": func(rt *rapid.T) {
				m := find()
				if got, err := e.CancelLease(pull, m.id, m.due); err == nil {
					m.due = got.Due
				}
			},
			"wait": func(rt *rapid.T) {
				if err := now.Advance(time.Second); err != nil {
					rt.Fatal(err)
				}
			},
			"reopen": func(rt *rapid.T) {
				if dir == "" {
					rt.Skip()
				}
				if err := e.Close(); err != nil {
					rt.Fatal(err)
				}
				if e, err = Open(o); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				for _, m := range model {
					if got, err := e.GetTask(pull, m.id); err != nil || got.Due != m.due || got.Dispatches != m.leases || got.Tag != m.tag {
						rt.Fatalf("task %+v, %v; want %+v", got, err, m)
					}
				}
				if q, _ := e.queues.Get(pull); q.tagged.Len() != len(model) || q.tasks.len() != len(model) || len(q.aging) != len(model) {
					rt.Fatalf("%d tasks, of which %d by tag and %d by age; want %d", q.tasks.len(), q.tagged.Len(), len(q.aging), len(model))
				}
			},
		})
	})
}
