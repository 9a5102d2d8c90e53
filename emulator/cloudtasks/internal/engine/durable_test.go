package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A picture is everything that must survive.
type picture struct {
	Queues     []Queue
	Tasks      map[string][]Task
	Retries    map[string]*Retry
	Tombstones map[string][]tombstone
	Deleted    []tombstone
	Notes      []Note
	Facts      map[string][]byte
}

func (e *Engine) picture() picture {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := picture{Tasks: map[string][]Task{}, Retries: map[string]*Retry{}, Tombstones: map[string][]tombstone{}}
	e.queues.Scan(func(name string, q *queue) bool {
		p.Queues = append(p.Queues, q.Queue)
		q.tasks.scan(func(t *task) {
			p.Tasks[name] = append(p.Tasks[name], t.describe())
			if t.more != nil {
				p.Retries[name+" "+t.id()] = t.more.retry
			}
		})
		q.named.prune(e.now())
		for ts := range q.named.all() {
			p.Tombstones[name] = append(p.Tombstones[name], ts)
		}
		slices.SortFunc(p.Tombstones[name], func(a, b tombstone) int {
			if c := bytes.Compare(a.mark[:], b.mark[:]); c != 0 {
				return c
			}
			return int(a.buried - b.buried)
		})
		// One that was forgotten and renewed at one instant stands in line twice.
		p.Tombstones[name] = slices.Compact(p.Tombstones[name])
		return true
	})
	e.buried.prune(e.now())
	p.Deleted = slices.Collect(e.buried.all())
	p.Facts = e.facts.all()
	for _, n := range e.notes.all() {
		p.Notes = append(p.Notes, *n)
	}
	return p
}

// Random work with checkpoints in the midst of it; what is read back must be
// what was there. Everything runs in fake time, so that attempts and tombstones
// come and go.
func TestStateSurvivesReopening(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				random := rand.New(rand.NewPCG(seed, 1))
				checkpoints := 0
				for range 3 {
					s := &stub{results: map[string][]Result{}}
					e := open(t, s, Options{Dir: dir, TaskTombstone: 10 * time.Minute, QueueTombstone: 20 * time.Minute, Fsync: "never"})
					e.mu.Lock()
					e.check.least = 4 << 10
					e.mu.Unlock()
					for range 600 {
						work(t, e, s, random)
					}
					synctest.Wait()
					// No delivery or checkpoint is under way now, so nothing changes any more.
					before := e.picture()
					if err := e.Close(); err != nil {
						t.Fatal(err)
					}
					found, err := filepath.Glob(filepath.Join(dir, "*checkpoint*"))
					if err != nil {
						t.Fatal(err)
					}
					checkpoints += len(found)
					again, err := Open(Options{Dir: dir, TaskTombstone: 10 * time.Minute, QueueTombstone: 20 * time.Minute, Deliver: s.deliver, Fsync: "never"})
					if err != nil {
						t.Fatal(err)
					}
					after := again.picture()
					if err := again.Close(); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(before, after, cmp.AllowUnexported(tombstone{}), cmpopts.EquateEmpty()); diff != "" {
						t.Fatalf("(-before +after):\n%s", diff)
					}
				}
				if checkpoints == 0 {
					files, _ := os.ReadDir(dir)
					t.Errorf("no checkpoint was written: %v", files)
				}
			})
		})
	}
}

// work makes one random change.
func work(t *testing.T, e *Engine, s *stub, random *rand.Rand) {
	t.Helper()
	q := location + fmt.Sprint(random.IntN(4))
	id := fmt.Sprint(random.IntN(60))
	var err error
	switch n := random.IntN(100); {
	case n < 6:
		s := settings
		s.Pull, s.TaskTTL = random.IntN(3) == 0, time.Duration(random.IntN(2))*time.Hour
		_, err = e.CreateQueue(q, s, []byte("spec of "+q))
	case n < 7:
		err = e.DeleteQueue(q)
	case n < 9:
		_, err = e.PurgeQueue(q)
	case n < 11:
		_, err = e.PauseQueue(q)
	case n < 16:
		_, err = e.ResumeQueue(q)
	case n < 20:
		_, err = e.UpdateQueue(q, func(d *Queue) error {
			d.Settings.Retry.MaxAttempts = 1 + random.IntN(5)
			d.Spec = fmt.Append(nil, "spec ", random.IntN(10))
			return nil
		})
	case n < 70:
		task := NewTask{ID: id, Spec: []byte(strings.Repeat("x", random.IntN(100)))}
		switch random.IntN(3) {
		case 0:
			task.Due = e.now().Add(time.Duration(random.IntN(900)) * time.Second)
		case 1:
			task.Retry = &Retry{MaxAttempts: 1 + random.IntN(4), MinBackoff: time.Minute, MaxBackoff: time.Hour}
		}
		if random.IntN(3) == 0 {
			task.ID = ""
		}
		s.mu.Lock()
		s.results[id] = []Result{failure, failure}[:random.IntN(3)]
		s.mu.Unlock()
		_, err = e.CreateTask(q, task)
	case n < 80:
		err = e.DeleteTask(q, id)
	case n < 84:
		_, err = e.RunTask(q, id)
	case n < 86:
		batch := []NewTask{{ID: id, Due: e.now().Add(time.Hour)}, {Tag: "t"}, {ID: "b" + id}}
		_, err = e.CreateTasks(q, batch, func([]Outcome) ([]Note, error) { return []Note{{"note " + id, []byte(q)}}, nil })
	case n < 88:
		_, err = e.DeleteTasks(q, []string{id, "b" + id, "none"}, nil)
	case n < 89:
		err = e.Keep("fact "+id, []byte(q)[:random.IntN(20)])
	case n < 92:
		var leased []Task
		leased, err = e.LeaseTasks(q, Lease{Max: 1 + random.IntN(5), Duration: time.Duration(random.IntN(100)) * time.Second})
		for _, t := range leased {
			switch random.IntN(4) {
			case 0:
				err = errors.Join(err, e.AcknowledgeTask(q, t.ID, t.Due))
			case 1:
				err = errors.Join(err, second(e.RenewLease(q, t.ID, t.Due, time.Hour)))
			}
		}
	default:
		time.Sleep(time.Duration(random.IntN(120)) * time.Second)
		synctest.Wait()
	}
	for _, expected := range []error{nil, ErrQueueMissing, ErrQueueExists, ErrQueueTombstoned, ErrTaskMissing, ErrTaskExists, ErrTaskTombstoned,
		ErrQueueType, ErrPaused, ErrLeaseLost, ErrTooManyLeases} {
		if errors.Is(err, expected) {
			return
		}
	}
	t.Fatal(err)
}

func TestWhatWasInFlightIsDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := &stub{hold: make(chan struct{})}
		e := open(t, s, Options{Dir: dir})
		once := settings
		once.Retry.MaxAttempts = 1
		must[Queue](t)(e.CreateQueue(location+"a", once, nil))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
		synctest.Wait()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}

		s = new(stub)
		e = open(t, s, Options{Dir: dir})
		synctest.Wait()
		seen := s.deliveries()
		if len(seen) != 1 || seen[0].Attempt != 2 || seen[0].Previous != nil {
			t.Errorf("deliveries after the restart: %+v, want attempt 2 with no answer to the first", seen)
		}
		if _, err := e.GetTask(location+"a", "a"); !errors.Is(err, ErrTaskTombstoned) {
			t.Errorf("GetTask: %v", err)
		}
	})
}

func TestReplayRefusesForeignRecords(t *testing.T) {
	e := open(t, new(stub), Options{})
	for _, record := range [][]byte{{}, {99}, {opTask, 200}, appendText([]byte{opQueue}, "q")} {
		if err := e.replay(record); err == nil {
			t.Errorf("record %x is taken", record)
		}
	}
}

func FuzzReplay(f *testing.F) {
	q := &queue{Queue: Queue{Name: location + "a", Settings: settings, Spec: []byte("s")}}
	full := &task{queue: q, text: "a", idLen: 1, named: true, more: &more{retry: &Retry{MaxAttempts: -1},
		tries: Tries{Dispatches: 2, First: 1, Last: &Result{Status: 500, Message: "m"}}}}
	spec := []byte("spec")
	for _, record := range [][]byte{
		appendQueue(nil, &q.Queue), appendTask(nil, full, spec), appendTries(nil, full, 7, &full.more.tries),
		appendTaskEnd(nil, full, 9), appendPurge(nil, q.Name, 9), appendQueueDeletion(nil, q.Name, 9),
		appendTombstones(nil, q.Name, true, []tombstone{{markOf("x"), 5}}),
		appendNote(nil, Note{"k", []byte("v")}), appendFact(nil, Note{"k", []byte("v")}),
		appendGrouped(appendGrouped([]byte{opGroup}, func(b []byte) []byte { return appendTaskEnd(b, full, 9) }),
			func(b []byte) []byte { return appendTask(b, full, spec) }),
		appendTask(nil, &task{queue: q, text: "b", idLen: 1, more: &more{tag: "t"}}, spec),
		appendQueue(nil, &Queue{Name: location + "b", Settings: pullSettings()}),
	} {
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		e := &Engine{o: Options{TaskTombstone: time.Hour, QueueTombstone: time.Hour}}
		for _, r := range [][]byte{appendQueue(nil, &q.Queue), appendTask(nil, full, spec), record} {
			_ = e.replay(r) // must not panic
		}
		e.settleAll()
		e.queues.Scan(func(_ string, q *queue) bool {
			if len(q.due) != q.tasks.len() || len(q.aging) != q.tasks.len() || q.tagged != nil && q.tagged.Len() != q.tasks.len() {
				t.Errorf("%d tasks, %d of them waiting", q.tasks.len(), len(q.due))
			}
			return true
		})
	})
}

// The record that starts a checkpoint isn't part of the state that the
// checkpoint is taken of: it must be in the log that follows.
func TestEveryChangeMayStartACheckpoint(t *testing.T) {
	for name, change := range map[string]func(*Engine) error{
		"CreateQueue": func(e *Engine) error { return second(e.CreateQueue(location+"b", settings, nil)) },
		"PauseQueue":  func(e *Engine) error { return second(e.PauseQueue(location + "a")) },
		"PurgeQueue":  func(e *Engine) error { return second(e.PurgeQueue(location + "a")) },
		"DeleteQueue": func(e *Engine) error { return e.DeleteQueue(location + "a") },
		"CreateTask":  func(e *Engine) error { return second(e.CreateTask(location+"a", NewTask{ID: "new"})) },
		"DeleteTask":  func(e *Engine) error { return e.DeleteTask(location+"a", "waits") },
		"RunTask":     func(e *Engine) error { return second(e.RunTask(location+"a", "waits")) },
		"CreateTasks": func(e *Engine) error {
			return second(e.CreateTasks(location+"a", []NewTask{{ID: "new"}}, noted("n")))
		},
		"DeleteTasks": func(e *Engine) error { return second(e.DeleteTasks(location+"a", []string{"waits"}, noted("n"))) },
		"LeaseTasks":  func(e *Engine) error { return second(e.LeaseTasks(pull, Lease{Max: 1, Duration: time.Minute})) },
		"Keep":        func(e *Engine) error { return e.Keep("k", []byte("v")) },
		"Remember":    func(e *Engine) error { return e.Remember(Note{"k", []byte("v")}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				e := open(t, new(stub), Options{Dir: dir})
				must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
				must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "waits", Due: e.now().Add(time.Hour)}))
				must[Queue](t)(e.CreateQueue(pull, pullSettings(), nil))
				must[Task](t)(e.CreateTask(pull, NewTask{ID: "leased", Tag: "t"}))
				e.mu.Lock()
				e.check.least = 1
				e.mu.Unlock()
				if err := change(e); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				before := e.picture()
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				again := open(t, new(stub), Options{Dir: dir})
				if diff := cmp.Diff(before, again.picture(), cmp.AllowUnexported(tombstone{}), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("(-before +after):\n%s", diff)
				}
			})
		})
	}
}

// TestFailedCheckpointIsNotTriedAtEachChange: where there is no room for one, the
// attempts get rarer as the log grows.
func TestFailedCheckpointIsNotTriedAtEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		e := open(t, new(stub), Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for seq := range 200 { // in the way of the checkpoints
			if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf("%016d.checkpoint", seq)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		e.mu.Lock()
		e.check.least = 4 << 10
		e.mu.Unlock()
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		for range 100 { // 100 bytes each
			must[Queue](t)(e.PauseQueue(location + "a"))
			synctest.Wait()
		}
		if n := strings.Count(log.String(), "checkpoint failed"); n < 1 || n > 2 {
			t.Errorf("%d checkpoints failed, want 1 or 2", n)
		}
	})
}

// A journal that can't be written fails the callers, and changes nothing.
// TestPurgeDuringACheckpoint: a purge names no tasks in the journal, so those
// that it takes from a checkpoint under way must be in it as tombstones.
func TestPurgeDuringACheckpoint(t *testing.T) {
	dir, q := t.TempDir(), location+"q"
	s := &stub{}
	e := open(t, s, Options{Dir: dir, Fsync: "never"})
	must[Queue](t)(e.CreateQueue(q, settings, nil))
	must[Queue](t)(e.PauseQueue(q))
	const n = 20_000
	for i := range n {
		must[Task](t)(e.CreateTask(q, NewTask{ID: fmt.Sprint(i), Spec: make([]byte, 200)}))
	}
	e.mu.Lock()
	e.check.least = 1
	e.mu.Unlock()
	must[Queue](t)(e.PauseQueue(q)) // starts the checkpoint
	writing := func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.check.writing
	}
	for written := int64(0); written == 0 && writing(); {
		parts, err := filepath.Glob(filepath.Join(dir, "*.part"))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if info, err := os.Stat(part); err == nil {
				written = info.Size()
			}
		}
	}
	e.mu.Lock()
	e.check.least = 0
	e.mu.Unlock()
	must[Queue](t)(e.PurgeQueue(q))
	for writing() {
		time.Sleep(time.Millisecond)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, s, Options{Dir: dir, Fsync: "never"})
	free := 0
	for i := range n {
		if _, err := e.CreateTask(q, NewTask{ID: fmt.Sprint(i)}); !errors.Is(err, ErrTaskTombstoned) {
			free++
		}
	}
	if free > 0 {
		t.Errorf("%d names of %d purged tasks are free", free, n)
	}
}

func TestJournalFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := &stub{hold: make(chan struct{})}
		e := open(t, s, Options{Dir: dir})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "flying"}))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "soon", Due: e.now().Add(time.Minute)}))
		synctest.Wait()
		must[Queue](t)(e.CreateQueue(pull, pullSettings(), nil))
		must[Task](t)(e.CreateTask(pull, NewTask{ID: "held"}))
		held := must[[]Task](t)(e.LeaseTasks(pull, Lease{Max: 1, Duration: time.Minute}))[0]
		must[Task](t)(e.CreateTask(pull, NewTask{ID: "free"}))
		before := e.picture()
		if err := e.log.Close(); err != nil { // from here on it refuses
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"CreateQueue": second(e.CreateQueue(location+"b", settings, nil)),
			"UpdateQueue": second(e.UpdateQueue(location+"a", func(d *Queue) error { d.Settings.Burst = 1; return nil })),
			"PauseQueue":  second(e.PauseQueue(location + "a")),
			"PurgeQueue":  second(e.PurgeQueue(location + "a")),
			"DeleteQueue": e.DeleteQueue(location + "a"),
			"CreateTask":  second(e.CreateTask(location+"a", NewTask{ID: "new"})),
			"DeleteTask":  e.DeleteTask(location+"a", "soon"),
			"RunTask":     second(e.RunTask(location+"a", "soon")),
			"CreateTasks": second(e.CreateTasks(location+"a", []NewTask{{ID: "new"}}, noted("n"))),
			"DeleteTasks": second(e.DeleteTasks(location+"a", []string{"soon"}, noted("n"))),
			"LeaseTasks":  second(e.LeaseTasks(pull, Lease{Max: 1, Duration: time.Minute})),
			"CancelLease": second(e.CancelLease(pull, "held", held.Due)),
			"Acknowledge": e.AcknowledgeTask(pull, "held", held.Due),
			"Keep":        e.Keep("k", []byte("v")),
			"Remember":    e.Remember(Note{"k", []byte("v")}),
		} {
			if err == nil {
				t.Errorf("%s succeeds without its record", name)
			}
		}
		if diff := cmp.Diff(before, e.picture(), cmp.AllowUnexported(tombstone{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("changed (-before +after):\n%s", diff)
		}
		close(s.hold) // the delivery succeeds, but can't be recorded
		time.Sleep(2 * time.Minute)
		if n := len(s.deliveries()); n != 1 {
			t.Errorf("%d deliveries, want none beside the first", n)
		}
		if n := e.Stats().Queues[0]; n.Waiting != 2 || n.Running != 0 {
			t.Errorf("%+v, want both tasks waiting", n)
		}
	})
}

func second[T any](_ T, err error) error { return err }
