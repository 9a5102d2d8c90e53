package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// A redrive that races a late duplicate: whoever comes first, the work is
// committed at most once, by the hop that the redrive made.
func TestRedriveRacesALateDuplicate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		fail := true
		class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 1})
		w.serve(nil, class.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			if fail {
				return errors.New("no luck")
			}
			return bump(tx, s)
		}))
		task := w.enqueue(class, "a", nil)
		w.expect(task, 0, handlers.OutcomeDead)
		fail = false
		w.expect(task, 1, handlers.OutcomeDuplicate) // a late duplicate before the redrive

		dead := handlers.NewDeadLetters(w.client)
		key := w.dead()[0].Key
		receipt, err := dead.Redrive(w.Context(), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if receipt.ID != task.Envelope.ID {
			t.Errorf("redriven as another execution: %+v", receipt)
		}
		w.wantRow(task, ledgerRow{State: "redriven", Failures: 1})
		w.expect(task, 2, handlers.OutcomeDuplicate) // one after it
		next := w.task("work", 1)
		if e := next.Envelope; e.Hop != 1 || e.Failures != 0 || !e.NotAfter.After(task.Envelope.NotAfter.Add(-time.Millisecond)) {
			t.Errorf("redriven as %+v", e)
		}
		w.expect(next, 0, handlers.OutcomeCommitted)
		w.expect(task, 3, handlers.OutcomeDuplicate)
		w.expect(next, 1, handlers.OutcomeDuplicate)
		if n := w.count("a"); n != 1 {
			t.Errorf("%d commits", n)
		}
		if _, err := dead.Redrive(w.Context(), key, nil); !errors.Is(err, datastore.ErrNoSuchEntity) {
			t.Errorf("a second redrive: %v", err)
		}
	})
}

// Two redrives of one dead letter at once: one task comes of it.
func TestRedriveTwiceAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 1})
		w.serve(nil, class.HandleTx(func(context.Context, *tasks.Tx, string) error { return errors.New("no luck") }))
		w.expect(w.enqueue(class, "a", nil), 0, handlers.OutcomeDead)
		dead, key := handlers.NewDeadLetters(w.client), w.dead()[0].Key
		errs := make(chan error, 2)
		for range 2 {
			go func() { _, err := dead.Redrive(w.Context(), key, nil); errs <- err }()
		}
		won := 0
		for range 2 {
			if err := <-errs; err == nil {
				won++
			}
		}
		if n := len(w.queue.Tasks("work")); won < 1 || n != 2 {
			t.Errorf("%d redrives succeeded, %d tasks", won, n)
		}
	})
}

func TestDropLeavesTheExecutionDead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(func(context.Context, *tasks.Tx, string) error { return tasks.Dead(errors.New("hopeless")) }))
		task := w.enqueue(work, "a", nil)
		w.expect(task, 0, handlers.OutcomeDead)
		dead, key := handlers.NewDeadLetters(w.client), w.dead()[0].Key
		if d, err := dead.Get(w.Context(), key); err != nil || d.Reason != "dead" {
			t.Fatalf("%+v, %v", d, err)
		}
		if err := dead.Drop(w.Context(), key); err != nil {
			t.Fatal(err)
		}
		w.expect(task, 1, handlers.OutcomeDuplicate)
		if err := dead.Drop(w.Context(), key); !errors.Is(err, datastore.ErrNoSuchEntity) {
			t.Errorf("dropped twice: %v", err)
		}
		if _, err := dead.Redrive(w.Context(), key, nil); !errors.Is(err, datastore.ErrNoSuchEntity) {
			t.Errorf("redriven after a drop: %v", err)
		}
	})
}

// A payload that does not decode is a task all the same: it can be redriven
// when the code is mended.
func TestPayloadOfAnotherShape(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		task := w.enqueue(work, "a", nil)
		w.serve(nil, tasks.NewClass[int]("work", nil).HandleTx(func(context.Context, *tasks.Tx, int) error { return nil }))
		w.expect(task, 0, handlers.OutcomeDead)
		w.wantRow(task, ledgerRow{State: "dead"})
		w.serve(nil, work.HandleTx(bumper))
		if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), task.Envelope.Key(), nil); err != nil {
			t.Fatal(err)
		}
		w.expect(w.task("work", 1), 0, handlers.OutcomeCommitted)
	})
}

// Past expireAt − 1 h the ledger proves nothing.
func TestOutcomeUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(&handlers.Options{ImitateTTL: true}, work.HandleTx(bumper))
		done, never := w.enqueue(work, "done", nil), w.enqueue(work, "never", nil)
		w.expect(done, 0, handlers.OutcomeCommitted)
		sleep(32*24*time.Hour - 30*time.Minute)
		w.expect(done, 1, handlers.OutcomeDuplicate) // the row is still there, and proves it
		w.expect(never, 0, handlers.OutcomeDead)
		sleep(2 * time.Hour)
		expired := 0
		for range 16 { // the sweeper looks at a sixteenth each minute
			r, err := w.server.Sweep(w.Context())
			if err != nil {
				t.Fatal(err)
			}
			expired += r.Expired
			sleep(time.Minute)
		}
		if expired != 1 {
			t.Errorf("%d rows expired, want that of the task that was done", expired)
		}
		w.wantRow(done, ledgerRow{State: "absent"})
		w.expect(done, 2, handlers.OutcomeDead) // and does not run again
		if n := w.count("done"); n != 1 {
			t.Errorf("%d commits", n)
		}
		dead := handlers.NewDeadLetters(w.client)
		for d, err := range dead.List(w.Context(), "work") {
			if err != nil || !d.Unknown || d.Reason != "outcome-unknown" {
				t.Fatalf("%+v, %v", d, err)
			}
			if _, err := dead.Redrive(w.Context(), d.Key, nil); !errors.Is(err, handlers.ErrMayRepeat) || !strings.Contains(err.Error(), "--may-repeat") {
				t.Errorf("redrive: %v", err)
			}
		}
		if _, err := dead.Redrive(w.Context(), never.Envelope.Key(), &handlers.RedriveOptions{MayRepeat: true}); err != nil {
			t.Fatal(err)
		}
		w.expect(w.task("work", 2), 0, handlers.OutcomeCommitted)
	})
}

// A leg that comes so late proves nothing either: its next hop may have run.
func TestOutcomeOfALegUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		leg := w.enqueue(work, "a", &tasks.EnqueueOptions{Delay: 50 * 24 * time.Hour})
		sleep(32*24*time.Hour - 30*time.Minute)
		w.expect(leg, 0, handlers.OutcomeDead)
		if d := w.dead(); len(d) != 1 || !d[0].Unknown {
			t.Errorf("dead letters %+v", d)
		}
	})
}

// A dead letter that outlives its ledger row can be redriven only by someone
// who accepts a repetition.
func TestRedriveAfterTheLedgerForgot(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(&handlers.Options{ImitateTTL: true}, work.HandleTx(func(context.Context, *tasks.Tx, string) error { return tasks.Dead(errors.New("hopeless")) }))
		task := w.enqueue(work, "a", nil)
		w.expect(task, 0, handlers.OutcomeDead)
		sleep(33 * 24 * time.Hour)
		for range 16 {
			if _, err := w.server.Sweep(w.Context()); err != nil {
				t.Fatal(err)
			}
			sleep(time.Minute)
		}
		w.wantRow(task, ledgerRow{State: "absent"})
		if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), task.Envelope.Key(), nil); !errors.Is(err, handlers.ErrMayRepeat) {
			t.Errorf("redrive: %v", err)
		}
	})
}

// The largest task, with the longest error and the most headers, still fits
// into a dead letter: otherwise it would fail for ever.
func TestLargestDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(func(context.Context, *tasks.Tx, string) error {
			return tasks.Dead(errors.New(strings.Repeat("<\xff>", 100<<10)))
		}))
		task := w.enqueue(work, strings.Repeat("x", tasks.MaxEnvelopeBytes-400), nil)
		if n := len(task.Request.GetTask().GetHttpRequest().GetBody()); n < tasks.MaxEnvelopeBytes-200 {
			t.Fatalf("only %d bytes", n)
		}
		headers := w.headers
		w.headers = func(h http.Header) {
			for i := range 2000 {
				h.Set(fmt.Sprintf("X-Long-%d", i), strings.Repeat(`<">`, 100))
			}
		}
		w.expect(task, 0, handlers.OutcomeDead)
		w.headers = headers
		d := w.dead()[0]
		size := 0
		for name, value := range d.Headers {
			size += len(name) + len(value)
		}
		if len(d.Error) > 48<<10 || len(d.Error) < 30<<10 || size > 16<<10 || size < 1<<10 {
			t.Errorf("%d bytes of error, %d of headers", len(d.Error), size)
		}
		if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), d.Key, nil); err != nil {
			t.Error(err)
		}
	})
}

// A redrive starts its count anew, also when the dead hop had brought failures
// along; and it never revives what the ledger has in another state.
func TestRedriveCountsAnew(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 2})
	bubble(t, func(t *testing.T, w *world) {
		run := 0
		w.serve(nil, class.HandleTx(func(context.Context, *tasks.Tx, string) error {
			if run++; run == 2 {
				return tasks.Snooze(time.Minute)
			}
			return errors.New("no luck")
		}))
		task := w.enqueue(class, "a", nil)
		w.expect(task, 0, handlers.OutcomeFailed)
		w.expect(task, 1, handlers.OutcomeSnoozed)
		hop1 := w.task("work", 1)
		w.expect(hop1, 0, handlers.OutcomeDead)
		w.wantRow(hop1, ledgerRow{State: "dead", Failures: 2})

		key := w.client.Key(handlers.DeadKind, hop1.Envelope.Key())
		var letter datastore.PropertyList
		if err := w.ds.Get(w.Context(), key, &letter); err != nil {
			t.Fatal(err)
		}
		dead := handlers.NewDeadLetters(w.client)
		if _, err := dead.Redrive(w.Context(), key.Name, nil); err != nil {
			t.Fatal(err)
		}
		hop2 := w.task("work", 2)
		w.expect(hop2, 0, handlers.OutcomeFailed) // not yet dead
		w.wantRow(hop2, ledgerRow{Failures: 1})

		// The dead letter comes back, from a backup say.
		if _, err := w.ds.Put(w.Context(), key, &letter); err != nil {
			t.Fatal(err)
		}
		for _, o := range []*handlers.RedriveOptions{nil, {MayRepeat: true}} {
			if _, err := dead.Redrive(w.Context(), key.Name, o); !errors.Is(err, handlers.ErrNotDead) {
				t.Errorf("redriven twice: %v", err)
			}
		}
		if n := len(w.queue.Tasks("work")); n != 3 {
			t.Errorf("%d tasks", n)
		}
	})
}

// A class is renamed while its tasks are under way: the next hop of one that
// was enqueued under the old name is understood, whatever made the hop.
func TestRenamedClassMakesFurtherHops(t *testing.T) {
	renamed := tasks.NewClass("renamed", &tasks.ClassOptions[string]{Aliases: []string{"work"}})
	bubble(t, func(t *testing.T, w *world) {
		verdict := tasks.Snooze(time.Minute)
		w.serve(nil, renamed.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			if verdict != nil {
				return verdict
			}
			return bump(tx, s)
		}))
		hops := func() []taskstest.Task { return append(w.queue.Tasks("work"), w.queue.Tasks("renamed")...) }
		w.expect(w.enqueue(work, "a", nil), 0, handlers.OutcomeSnoozed)
		snoozed := hops()[1]
		verdict = tasks.Dead(errors.New("hopeless"))
		w.expect(snoozed, 0, handlers.OutcomeDead)
		verdict = nil
		if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), w.dead()[0].Key, nil); err != nil {
			t.Fatal(err)
		}
		w.expect(hops()[2], 0, handlers.OutcomeCommitted)
		if n := w.count("a"); n != 1 {
			t.Errorf("%d commits", n)
		}
	})
}

// Dead letters of a coalescing class are tasks of their own: two that are
// redriven at once don't share a slot's name.
func TestRedriveOfACoalescingClass(t *testing.T) {
	class := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(s string) string { return "shard/" + s }})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, class.Handle(func(context.Context, string) error { return tasks.Dead(errors.New("no luck")) }))
		for _, payload := range []string{"7", "8"} {
			w.expect(w.enqueue(class, payload, nil), 0, handlers.OutcomeDead)
		}
		for _, d := range w.dead() {
			if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), d.Key, nil); err != nil {
				t.Fatal(err)
			}
		}
		redriven := map[string]bool{}
		for _, task := range w.queue.Tasks("shard")[2:] {
			redriven[string(task.Envelope.Payload)] = true
		}
		if len(redriven) != 2 {
			t.Errorf("redriven: %v, want both; left in the outbox: %v", redriven, w.outbox())
		}
	})
}
