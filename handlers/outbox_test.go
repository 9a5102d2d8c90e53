package handlers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
)

// A crash between commit and submit: the outbox keeps the task until a sweep.
func TestCrashBetweenCommitAndSubmit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
		var receipt tasks.Receipt
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) (err error) {
			receipt, err = work.EnqueueTx(tx, "a", nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if left := w.outbox(); len(left) != 1 || len(w.queue.Tasks("")) != 0 {
			t.Fatalf("outbox %+v", left)
		}
		w.queue.Refuse = nil
		// Fresh entities are left to their writers.
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Pending != 0 {
			t.Fatalf("sweep of a fresh entity: %+v, %v", r, err)
		}
		sleep(31 * time.Second)
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 1 || r.Refused != 0 {
			t.Fatalf("sweep: %+v, %v", r, err)
		}
		task := w.task("work", 0)
		if task.Envelope.ID != receipt.ID || task.Name != receipt.TaskName || len(w.outbox()) != 0 {
			t.Errorf("task %+v, receipt %+v, outbox %v", task.Envelope, receipt, w.outbox())
		}
		w.expect(task, 0, handlers.OutcomeCommitted)
	})
}

// The same, with the task created and only the entity's delete lost: the second
// creation is a duplicate, which proves the first.
func TestCrashBetweenSubmitAndDelete(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.rpcs.script(func(method string, n int, call func() error) error {
			if method == "Commit" && n == 2 { // the delete
				return errUnavailable
			}
			return call()
		})
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			for i := range 3 {
				if _, err := work.EnqueueTx(tx, fmt.Sprint(i), nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(w.queue.Tasks("")) != 3 || len(w.outbox()) != 1 {
			t.Fatalf("%v, %d tasks, outbox %+v", err, len(w.queue.Tasks("")), w.outbox())
		}
		w.rpcs.script(nil)
		sleep(31 * time.Second)
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 1 {
			t.Fatalf("sweep: %+v, %v", r, err)
		}
		if n := len(w.queue.Tasks("")); n != 3 || len(w.outbox()) != 0 {
			t.Errorf("%d tasks, outbox %+v", n, w.outbox())
		}
	})
}

// A task that the queue refuses is never dropped: the refusal is recorded, the
// next try moves from a second to an hour, and the rest of its transaction is
// not created twice.
func TestRefusedTaskIsNeverDropped(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.queue.Refuse = func(r *cloudtaskspb.CreateTaskRequest) error {
			if bytes.Contains(r.GetTask().GetHttpRequest().GetBody(), []byte("poison")) {
				return status.Error(codes.InvalidArgument, "HttpTarget.url must start with 'http://' or 'https://'.")
			}
			return nil
		}
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			for _, p := range []string{"good", "poison"} {
				if _, err := work.EnqueueTx(tx, p, nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		tries := 1
		for range 200 { // sweeps, one a minute
			left := w.outbox()
			if len(left) != 1 || len(left[0].Classes) != 1 || !strings.Contains(left[0].Error, "HttpTarget.url") {
				t.Fatalf("outbox %+v", left)
			}
			if wait := time.Until(left[0].NextTry); wait > time.Hour {
				t.Fatalf("the next try is in %v", wait)
			}
			sleep(time.Minute)
			r, err := w.server.Sweep(w.Context())
			if err != nil {
				t.Fatal(err)
			}
			tries += r.Refused
			if got := w.outbox()[0].Attempts; got != tries {
				t.Fatalf("%d attempts are recorded, %d were made", got, tries)
			}
		}
		if tries < 10 || tries > 30 {
			t.Errorf("%d tries in 200 minutes", tries)
		}
		w.queue.Refuse = nil
		sleep(time.Hour)
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 1 {
			t.Fatalf("sweep: %+v, %v", r, err)
		}
		if len(w.outbox()) != 0 || len(w.queue.Tasks("")) != 2 {
			t.Errorf("outbox %+v, %d tasks", w.outbox(), len(w.queue.Tasks("")))
		}
		// It waited for hours: its time counts from when the queue has it.
		if e := w.task("work", 1).Envelope; time.Until(e.NotAfter) < 7*24*time.Hour-time.Minute {
			t.Errorf("not re-dated: %v", e.NotAfter)
		}
	})
}

// What a class with a short MaxAge has in the outbox gets all of it from the
// sweeper, however short the wait was in hours.
func TestSweptTaskOfAShortMaxAgeIsRedated(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAge: 2 * time.Minute})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, class.HandleTx(bumper))
		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "outage") }
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			_, err := class.EnqueueTx(tx, "a", nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		sleep(10 * time.Minute)
		w.queue.Refuse = nil
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 1 {
			t.Fatalf("sweep: %+v, %v", r, err)
		}
		if left := time.Until(w.task("work", 0).Envelope.NotAfter); left < 2*time.Minute-time.Second {
			t.Errorf("NotAfter in %v, want the class's MaxAge", left)
		}
	})
}

// A task that only just fits is a task to its end: through the outbox with other
// times, a leg, a snooze with failures, and a redrive.
func TestLargestTaskMakesFurtherHops(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // times are short: others are longer
		verdict := errors.New("no luck")
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error { return verdict }))
		empty := w.enqueue(work, "", nil)
		room := tasks.MaxEnvelopeBytes - len(empty.Request.GetTask().GetHttpRequest().GetBody())
		largest := strings.Repeat("a", room)
		if _, err := work.Enqueue(w.Context(), w.client, largest+"a", nil); err == nil {
			t.Fatal("a byte more is accepted")
		}

		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "outage") }
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			_, err := work.EnqueueTx(tx, largest, nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		sleep(10*time.Minute + 123*time.Millisecond)
		w.queue.Refuse = nil
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 1 {
			t.Fatalf("sweep: %+v, %v", r, err)
		}
		task := w.task("work", 1)
		w.expect(task, 0, handlers.OutcomeFailed)
		verdict = tasks.Snooze(25 * 24 * time.Hour)
		w.expect(task, 1, handlers.OutcomeSnoozed)
		leg := w.task("work", 2)
		sleep(time.Until(leg.Due))
		w.expect(leg, 0, handlers.OutcomeLeg)
		verdict = tasks.Dead(errors.New("hopeless"))
		w.expect(w.task("work", 3), 0, handlers.OutcomeDead)
		if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), w.dead()[0].Key, nil); err != nil {
			t.Fatal(err)
		}
		verdict = nil
		w.expect(w.task("work", 4), 0, handlers.OutcomeCommitted)
	})
}

func TestDuplicateNamedEnqueueInTransactions(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		for i := range 2 {
			err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
				r, err := work.EnqueueTx(tx, "a", &tasks.EnqueueOptions{Name: "one"})
				if r.Duplicate || r.ID == "" {
					t.Errorf("receipt %d: %+v", i, r)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(w.queue.Tasks("")) != 1 || len(w.outbox()) != 0 {
			t.Errorf("%d tasks, outbox %+v", len(w.queue.Tasks("")), w.outbox())
		}
	})
}

// A transaction that fails leaves neither writes nor tasks.
func TestFailedTransactionEnqueuesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		boom := errors.New("boom")
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			if err := bump(tx, "a"); err != nil {
				return err
			}
			_, err := work.EnqueueTx(tx, "a", nil)
			return errors.Join(err, boom)
		})
		if !errors.Is(err, boom) || w.count("a") != 0 || len(w.outbox()) != 0 || len(w.queue.Tasks("")) != 0 {
			t.Errorf("%v; count %d, outbox %v", err, w.count("a"), w.outbox())
		}
	})
}

// More than one entity's worth of tasks is still one transaction.
func TestOutboxIsChunked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
		big := strings.Repeat("<x>", 140<<10) // 420 KiB; escapes would double it
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			for range 5 {
				if _, err := work.EnqueueTx(tx, big, nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if left := w.outbox(); len(left) != 3 {
			t.Errorf("%d outbox entities for 5 tasks of 420 KiB, want 3", len(left))
		}
		w.queue.Refuse = nil
		sleep(time.Minute)
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 3 {
			t.Errorf("sweep: %+v, %v", r, err)
		}
		if n := len(w.queue.Tasks("")); n != 5 {
			t.Errorf("%d tasks", n)
		}
	})
}

// The sweeper's endpoint: tasks for the shards that have stragglers, each once
// a slot, which submit what they find.
func TestSweepEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
		for i := range 3 {
			err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
				_, err := work.EnqueueTx(tx, fmt.Sprint(i), nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		w.queue.Refuse = nil
		sleep(time.Minute)
		for range 3 {
			if got := w.raw("POST", "/_latchwork/sweep", "", nil); got != 200 {
				t.Fatalf("answer %d", got)
			}
		}
		sweeps := w.queue.Tasks("latchwork-sweep")
		if len(sweeps) < 1 || len(sweeps) > 3 {
			t.Fatalf("%d sweeper tasks for 3 stragglers and 3 calls", len(sweeps))
		}
		for _, s := range sweeps {
			sleep(max(0, time.Until(s.Due)))
			w.expect(s, 0, handlers.OutcomeCommitted)
		}
		if n := len(w.queue.Tasks("work")); n != 3 || len(w.outbox()) != 0 {
			t.Errorf("%d tasks, outbox %+v", n, w.outbox())
		}
	})
}
