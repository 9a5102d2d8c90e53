package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func noted(key string) func([]Outcome) ([]Note, error) {
	return func(outcomes []Outcome) ([]Note, error) {
		var text []string
		for _, o := range outcomes {
			text = append(text, fmt.Sprint(o.Task.ID, o.Err))
		}
		return []Note{{key, []byte(strings.Join(text, ","))}}, nil
	}
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := new(stub)
		e := open(t, s, Options{Dir: dir})
		q := location + "a"
		must[Queue](t)(e.CreateQueue(q, settings, nil))
		later := e.now().Add(time.Hour)
		must[Task](t)(e.CreateTask(q, NewTask{ID: "there", Due: later}))
		out := must[[]Outcome](t)(e.CreateTasks(q, []NewTask{
			{ID: "a", Due: later}, {ID: "there"}, {ID: "b", Due: later, Tag: "t", Spec: []byte("s")}, {ID: "a"}, {Due: later},
		}, noted("created")))
		if out[0].Err != nil || !errors.Is(out[1].Err, ErrTaskExists) || out[2].Err != nil || !errors.Is(out[3].Err, ErrTaskExists) ||
			out[4].Err != nil || out[4].Task.ID == "" {
			t.Errorf("created: %+v", out)
		}
		if diff := cmp.Diff(out[2].Task, must[Task](t)(e.GetTask(q, "b"))); diff != "" {
			t.Errorf("the outcome is not the task:\n%s", diff)
		}
		out = must[[]Outcome](t)(e.DeleteTasks(q, []string{"a", "none", "a"}, noted("deleted")))
		if out[0].Err != nil || !errors.Is(out[1].Err, ErrTaskMissing) || !errors.Is(out[2].Err, ErrTaskTombstoned) {
			t.Errorf("deleted: %+v", out)
		}
		refused := errors.New("no")
		refuse := func([]Outcome) ([]Note, error) { return nil, refused }
		if _, err := e.CreateTasks(q, []NewTask{{ID: "c"}}, refuse); !errors.Is(err, refused) {
			t.Errorf("CreateTasks: %v", err)
		}
		if _, err := e.DeleteTasks(q, []string{"b"}, refuse); !errors.Is(err, refused) {
			t.Errorf("DeleteTasks: %v", err)
		}
		if _, err := e.CreateTasks(location+"none", []NewTask{{}}, nil); !errors.Is(err, ErrQueueMissing) {
			t.Errorf("CreateTasks in no queue: %v", err)
		}
		check := func(e *Engine) {
			t.Helper()
			if n := must[QueueStats](t)(e.QueueStats(q)).Tasks; n != 3 {
				t.Errorf("%d tasks, want 3", n)
			}
			for key, want := range map[string]string{"created": "a<nil>,task exists,b<nil>,task exists,", "deleted": "<nil>,no such task,"} {
				if got, ok := e.Recall(key); !ok || !strings.HasPrefix(string(got), want) {
					t.Errorf("%s: %q, %v; want %q…", key, got, ok, want)
				}
			}
		}
		check(e)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		check(open(t, s, Options{Dir: dir}))
	})
}

// A batch is one record: cut anywhere, none of it is there.
func TestHalfABatchIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		e := open(t, new(stub), Options{Dir: dir, Fsync: "never"})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		must[Queue](t)(e.PauseQueue(location + "a"))
		file := logFile(t, dir)
		before := size(t, file)
		must[[]Outcome](t)(e.CreateTasks(location+"a", []NewTask{{ID: "a"}, {ID: "b"}, {ID: "c"}}, noted("n")))
		after := size(t, file)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for cut := before; cut < after; cut += 7 {
			if err := os.WriteFile(file, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			again, err := Open(Options{Dir: dir, Deliver: new(stub).deliver, Fsync: "never"})
			if err != nil {
				t.Fatal(err)
			}
			if n := must[QueueStats](t)(again.QueueStats(location + "a")).Tasks; n != 0 {
				t.Errorf("%d tasks of a batch cut off at %d", n, cut)
			}
			if _, ok := again.Recall("n"); ok {
				t.Errorf("a note of a batch cut off at %d", cut)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func logFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	return files[0]
}

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestNotesAreBounded(t *testing.T) {
	var n notes
	for i := range maxNotes + 5000 {
		n.put(Note{Key: fmt.Sprint(i % (maxNotes + 4000))})
	}
	if len(n.byKey) > maxNotes || len(n.line)-n.head != maxNotes || len(n.line) > 3*maxNotes {
		t.Errorf("%d notes in a line of %d, the first at %d", len(n.byKey), len(n.line), n.head)
	}
	if _, ok := n.byKey["0"]; !ok {
		t.Error("a note that was renewed is forgotten")
	}
	if _, ok := n.byKey["4999"]; ok {
		t.Error("an old note is still there")
	}
	for i := range 5 {
		n.put(Note{Key: fmt.Sprint("big", i), Value: make([]byte, maxNote-10)})
	}
	if n.bytes > maxNoteBytes || len(n.byKey) > 3 {
		t.Errorf("%d bytes in %d notes", n.bytes, len(n.byKey))
	}
}

func TestNotesAndFactsSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		e := open(t, new(stub), Options{Dir: dir, Fsync: "never"})
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		ok(e.Remember(Note{"n", []byte("1")}, Note{"m", []byte("2")}))
		ok(e.Keep("f", []byte("3")))
		ok(e.Keep("g", []byte("4")))
		e.mu.Lock()
		e.check.least = 1
		e.mu.Unlock()
		ok(e.Keep("g", nil)) // starts a checkpoint
		synctest.Wait()
		e.mu.Lock()
		e.check.least = 0
		e.mu.Unlock()
		ok(e.Remember(Note{"n", []byte("5")}))
		if err := e.Keep("h", make([]byte, maxFactBytes)); !errors.Is(err, ErrTooMuchKept) {
			t.Errorf("too big a fact: %v", err)
		}
		if err := e.Remember(Note{"h", make([]byte, maxNote)}); err == nil {
			t.Error("too big a note is taken")
		}
		ok(e.Close())
		if err := e.Keep("f", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Keep after Close: %v", err)
		}
		if err := e.Remember(); !errors.Is(err, ErrClosed) {
			t.Errorf("Remember after Close: %v", err)
		}
		found, err := filepath.Glob(filepath.Join(dir, "*.checkpoint"))
		if err != nil || len(found) != 1 {
			t.Errorf("checkpoints: %v, %v", found, err)
		}
		e = open(t, new(stub), Options{Dir: dir, Fsync: "never"})
		for key, want := range map[string]string{"n": "5", "m": "2", "h": ""} {
			if got, _ := e.Recall(key); string(got) != want {
				t.Errorf("note %s is %q, want %q", key, got, want)
			}
		}
		for key, want := range map[string]string{"f": "3", "g": ""} {
			if got := e.Kept(key); string(got) != want {
				t.Errorf("fact %s is %q, want %q", key, got, want)
			}
		}
	})
}
