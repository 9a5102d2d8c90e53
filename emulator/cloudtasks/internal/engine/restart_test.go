package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// A log that speaks of tasks that its checkpoint has, too, replaces them, however
// many were loaded between.
func TestLoadedTwice(t *testing.T) {
	const n = 3 * maxLoaded / 2
	e := &Engine{}
	q := e.newQueue(Queue{Name: "q", Settings: Settings{Rate: 1, Burst: 1, MaxConcurrent: 1}})
	e.queues.Set(q.Name, q)
	for _, due := range []Micros{1, 2} {
		for i := range n {
			one := &task{queue: q, text: fmt.Sprint(i), due: due}
			one.idLen = uint16(len(one.text))
			if err := e.replay(appendTask(nil, one, nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	e.settleAll()
	if q.tasks.len() != n || len(q.due) != n || len(q.aging) != n {
		t.Errorf("%d tasks, %d due, %d aging, want %d", q.tasks.len(), len(q.due), len(q.aging), n)
	}
	for i := range n {
		if one := q.tasks.get(fmt.Sprint(i)); one == nil || one.due != 2 || q.due[one.index] != one {
			t.Fatalf("task %d is %+v", i, one)
		}
	}
}

// BenchmarkRestart opens a folder with 200,000 tasks, as they were logged.
func BenchmarkRestart(b *testing.B) {
	const n = 200_000
	o := Options{Dir: b.TempDir(), Fsync: journal.FsyncNever, Deliver: func(context.Context, *Delivery) Result { return Result{} }}
	e, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	const queue = "projects/p/locations/l/queues/q"
	if _, err := e.CreateQueue(queue, Settings{Rate: 1, Burst: 1, MaxConcurrent: 1}, nil); err != nil {
		b.Fatal(err)
	}
	e.check.least = 1 << 40 // no checkpoint
	for i := range n {
		spec := fmt.Appendf(nil, "a spec whose parts are mostly those of the others, as are its URL http://127.0.0.1:8080/tasks/work, its headers and its body: %d", i)
		if _, err := e.CreateTask(queue, NewTask{Due: e.now().Add(time.Hour), Spec: spec}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		if e, err = Open(o); err != nil {
			b.Fatal(err)
		}
	}
	if got := e.Stats().Queues[0].Tasks; got != n {
		b.Fatalf("%d tasks", got)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/task")
	_ = e.Close()
}
