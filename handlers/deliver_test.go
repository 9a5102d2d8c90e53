package handlers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
)

var work = tasks.NewClass[string]("work", nil)

func TestHandleTxCommitsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var seen tasks.Delivery
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, name string) error {
			seen, _ = tasks.DeliveryFrom(ctx)
			if _, err := work.EnqueueTx(tx, "child of "+name, nil); err != nil {
				return err
			}
			return bump(tx, name)
		}))
		receipt, err := work.Enqueue(w.Context(), w.client, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		task := w.task("work", 0)
		w.rpcs.script(nil)
		w.expect(task, 0, handlers.OutcomeCommitted)
		// The price of a transactional task: two reads (ledger, entity), a
		// commit, and the outbox entity's delete, which is a commit of its own.
		got := map[string]int{"Lookup": w.rpcs.count("Lookup"), "BeginTransaction": w.rpcs.count("BeginTransaction"), "Commit": w.rpcs.count("Commit"), "Rollback": w.rpcs.count("Rollback")}
		if diff := cmp.Diff(map[string]int{"Lookup": 2, "BeginTransaction": 0, "Commit": 2, "Rollback": 0}, got); diff != "" {
			t.Errorf("RPCs (-want +got):\n%s", diff)
		}
		w.wantRow(task, ledgerRow{State: "done"})
		for retry := range 3 {
			w.expect(task, retry, handlers.OutcomeDuplicate)
		}
		if n := w.count("a"); n != 1 {
			t.Errorf("the work was committed %d times", n)
		}
		if n := len(w.queue.Tasks("work")); n != 2 {
			t.Errorf("%d tasks, want the parent and one child", n)
		}
		if left := w.outbox(); len(left) != 0 {
			t.Errorf("outbox: %+v", left)
		}
		want := tasks.Delivery{Class: "work", ID: receipt.ID, TaskName: task.Name, Queue: "default", Attempt: 1, MaxAttempts: 25,
			ETA: seen.ETA, EnqueuedAt: task.Envelope.EnqueuedAt, NotAfter: task.Envelope.NotAfter}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("DeliveryFrom (-want +got):\n%s", diff)
		}
	})
}

func TestHandleThenCommitsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		slow := 0
		w.serve(nil, work.HandleThen(func(ctx context.Context, name string) (func(*tasks.Tx) error, error) {
			slow++
			if name == "nothing" {
				return nil, nil
			}
			return func(tx *tasks.Tx) error { return bump(tx, name) }, nil
		}))
		for i, name := range []string{"a", "nothing"} {
			if _, err := work.Enqueue(w.Context(), w.client, name, nil); err != nil {
				t.Fatal(err)
			}
			w.expect(w.task("work", i), 0, handlers.OutcomeCommitted)
			w.expect(w.task("work", i), 1, handlers.OutcomeDuplicate)
			w.wantRow(w.task("work", i), ledgerRow{State: "done"})
		}
		if n := w.count("a"); n != 1 || slow != 2 {
			t.Errorf("%d commits, %d runs of the slow part", n, slow)
		}
	})
}

func TestHandleRunsAtLeastOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		runs := 0
		w.serve(nil, work.Handle(func(ctx context.Context, name string) error { runs++; return nil }))
		if _, err := work.Enqueue(w.Context(), w.client, "a", nil); err != nil {
			t.Fatal(err)
		}
		task := w.task("work", 0)
		// The handler returned, but the ledger did not learn of it.
		w.rpcs.script(func(method string, n int, call func() error) error {
			if method == "Commit" {
				return errUnavailable
			}
			return call()
		})
		w.expect(task, 0, handlers.OutcomeUnavailable)
		w.rpcs.script(nil)
		w.expect(task, 1, handlers.OutcomeCommitted)
		w.expect(task, 2, handlers.OutcomeDuplicate)
		if runs != 2 {
			t.Errorf("%d runs", runs)
		}
	})
}

func TestFailuresAreCountedThenDead(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 3})
	kinds := map[string]tasks.Handler{
		"error": class.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			_ = bump(tx, "a")
			return errors.New("no luck")
		}),
		"panic":  class.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error { _ = bump(tx, "a"); panic("no luck") }),
		"commit": class.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error { return refusedCommit(tx) }),
		"Handle": class.Handle(func(context.Context, string) error { return errors.New("no luck") }),
		"Then":   class.HandleThen(func(context.Context, string) (func(*tasks.Tx) error, error) { return nil, errors.New("no luck") }),
		"then's commit": class.HandleThen(func(context.Context, string) (func(*tasks.Tx) error, error) {
			return func(tx *tasks.Tx) error { panic("no luck") }, nil
		}),
	}
	for name, h := range kinds {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				last := false
				w.serve(nil, h)
				if _, err := class.Enqueue(w.Context(), w.client, "secret", nil); err != nil {
					t.Fatal(err)
				}
				task := w.task("work", 0)
				w.expect(task, 0, handlers.OutcomeFailed)
				w.wantRow(task, ledgerRow{Failures: 1})
				w.expect(task, 1, handlers.OutcomeFailed)
				w.wantRow(task, ledgerRow{Failures: 2})
				w.expect(task, 2, handlers.OutcomeDead)
				w.wantRow(task, ledgerRow{State: "dead", Failures: 3})
				w.expect(task, 3, handlers.OutcomeDuplicate)
				if n := w.count("a"); n != 0 {
					t.Errorf("%d commits of a handler that failed", n)
				}
				dead := w.dead()
				if len(dead) != 1 || dead[0].Reason != "failed" || dead[0].Failures != 3 || string(dead[0].Payload) != `"secret"` || dead[0].ID != task.Envelope.ID {
					t.Fatalf("dead letters %+v", dead)
				}
				if name != "commit" && !strings.Contains(dead[0].Error, "no luck") {
					t.Errorf("error %q", dead[0].Error)
				}
				if h := dead[0].Headers; h["Authorization"] != "" || h["X-Cloudtasks-Taskname"] != task.Name {
					t.Errorf("headers %v", h)
				}
				_ = last
			})
		})
	}
}

// refusedCommit writes what Datastore refuses at commit.
func refusedCommit(tx *tasks.Tx) error {
	_, err := tx.Mutate(datastore.NewUpdate(datastore.NameKey("Counter", "does not exist", nil), &counter{}))
	return err
}

func TestLastAttemptIsKnown(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 2})
	bubble(t, func(t *testing.T, w *world) {
		var got []bool
		w.serve(nil, class.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			d, _ := tasks.DeliveryFrom(ctx)
			got = append(got, d.Last())
			return errors.New("no luck")
		}))
		if _, err := class.Enqueue(w.Context(), w.client, "x", nil); err != nil {
			t.Fatal(err)
		}
		w.push(w.task("work", 0), 0)
		w.push(w.task("work", 0), 9) // deliveries that counted nothing lie between
		if diff := cmp.Diff([]bool{false, true}, got); diff != "" {
			t.Errorf("Last (-want +got):\n%s", diff)
		}
	})
}

func TestVerdicts(t *testing.T) {
	tests := []struct {
		name    string
		verdict error
		outcome handlers.Outcome
		row     ledgerRow
	}{
		{"cancel", tasks.Cancel(errors.New("not wanted")), handlers.OutcomeCancelled, ledgerRow{State: "cancelled"}},
		{"dead", tasks.Dead(errors.New("hopeless")), handlers.OutcomeDead, ledgerRow{State: "dead"}},
		{"snooze", tasks.Snooze(time.Hour), handlers.OutcomeSnoozed, ledgerRow{State: "moved"}},
		{"back-pressure", tasks.BackPressure(errors.New("slower")), handlers.OutcomeBackPressure, ledgerRow{State: "absent"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
					if err := bump(tx, "a"); err != nil {
						return err
					}
					return errors.Join(errors.New("wrapped"), tt.verdict)
				}))
				if _, err := work.Enqueue(w.Context(), w.client, "x", nil); err != nil {
					t.Fatal(err)
				}
				w.expect(w.task("work", 0), 0, tt.outcome)
				w.wantRow(w.task("work", 0), tt.row)
				if n := w.count("a"); n != 0 {
					t.Error("a verdict committed the handler's writes")
				}
				if tt.row.State != "absent" {
					w.expect(w.task("work", 0), 1, handlers.OutcomeDuplicate)
				}
			})
		})
	}
}

// A snooze of a named task: the caller's name served hop 0 alone, so that the
// next hop is no duplicate of it; the failures so far travel along.
func TestSnoozeOfANamedTask(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var runs []tasks.Delivery
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			d, _ := tasks.DeliveryFrom(ctx)
			runs = append(runs, d)
			switch len(runs) {
			case 1:
				return errors.New("no luck")
			case 2:
				return tasks.Snooze(time.Hour)
			}
			return bump(tx, s)
		}))
		name := &tasks.EnqueueOptions{Name: "once"}
		receipt, err := work.Enqueue(w.Context(), w.client, "a", name)
		if err != nil {
			t.Fatal(err)
		}
		w.expect(w.task("work", 0), 0, handlers.OutcomeFailed)
		w.expect(w.task("work", 0), 1, handlers.OutcomeSnoozed)
		next := w.task("work", 1)
		if in := time.Until(next.Due); in < 59*time.Minute || in > time.Hour {
			t.Errorf("the next hop is due in %v", in)
		}
		if e := next.Envelope; e.ID != receipt.ID || e.Hop != 1 || e.Failures != 1 || !e.NotAfter.Equal(next.Due.Add(7*24*time.Hour)) {
			t.Errorf("the next hop is %+v", e)
		}
		if again, err := work.Enqueue(w.Context(), w.client, "a", name); err != nil || !again.Duplicate {
			t.Errorf("the name is free again: %+v, %v", again, err)
		}
		w.expect(w.task("work", 0), 2, handlers.OutcomeDuplicate)
		w.expect(next, 0, handlers.OutcomeCommitted)
		w.expect(next, 1, handlers.OutcomeDuplicate)
		if n := w.count("a"); n != 1 || runs[2].Failures != 1 || runs[2].Hop != 1 {
			t.Errorf("%d commits, last run %+v", n, runs[2])
		}
	})
}

// Legs: an ETA beyond what the queue keeps is reached in hops.
func TestLegs(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ran := false
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error { ran = true; return bump(tx, s) }))
		eta := time.Now().Add(50 * 24 * time.Hour)
		if _, err := work.Enqueue(w.Context(), w.client, "a", &tasks.EnqueueOptions{ETA: eta}); err != nil {
			t.Fatal(err)
		}
		first := w.task("work", 0)
		if reach := time.Until(first.Due); reach > 21*24*time.Hour || reach < 20*24*time.Hour {
			t.Errorf("the first leg is due in %v", reach)
		}
		w.expect(first, 0, handlers.OutcomeLeg)
		w.wantRow(first, ledgerRow{State: "moved"})
		if second := w.task("work", 1); second.Envelope.Hop != 1 || second.Envelope.LegTo.IsZero() || ran {
			t.Errorf("second leg %+v, ran %v", second.Envelope, ran)
		}
		w.expect(first, 1, handlers.OutcomeDuplicate)
	})
}

// The handler's span has the enqueuer's for a parent.
func TestTraceReachesTheHandler(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var got trace.SpanContext
		w.serve(nil, work.Handle(func(ctx context.Context, s string) error {
			got = trace.SpanContextFromContext(ctx)
			return nil
		}))
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
		if _, err := work.Enqueue(trace.ContextWithSpanContext(w.Context(), sc), w.client, "a", nil); err != nil {
			t.Fatal(err)
		}
		w.expect(w.task("work", 0), 0, handlers.OutcomeCommitted)
		if got.TraceID() != sc.TraceID() || got.SpanID() != sc.SpanID() || !got.IsRemote() {
			t.Errorf("span %+v", got)
		}
	})
}

// Everything of ours lives in the client's namespace: outbox, ledger, dead
// letters and the lock's key, which memcached could not tell apart otherwise.
func TestNamespaces(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{LockKey: func(s string) string { return s }})
	bubble(t, func(t *testing.T, w *world) {
		plain := w.client
		for _, ns := range []string{"ns1", "ns11"} {
			w.client = w.newClient(ns)
			var holder string
			w.serve(&handlers.Options{ImitateTTL: true}, class.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
				holder = w.locks.Owner("memlock:" + ns + "/a")
				return tasks.Dead(errors.New("hopeless"))
			}))
			w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return errUnavailable }
			err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
				_, err := class.EnqueueTx(tx, "a", nil)
				return err
			})
			if err != nil || len(w.outbox()) != 1 {
				t.Fatal(err, w.outbox())
			}
			w.queue.Refuse = nil
			sleep(time.Minute)
			if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 1 {
				t.Fatalf("sweep: %+v, %v", r, err)
			}
			all := w.queue.Tasks("work")
			w.expect(all[len(all)-1], 0, handlers.OutcomeDead)
			w.wantRow(all[len(all)-1], ledgerRow{State: "dead"})
			if len(w.dead()) != 1 || holder == "" {
				t.Errorf("%s: dead letters %+v, lock held by %q", ns, w.dead(), holder)
			}
		}
		w.client = plain
		if len(w.outbox())+len(w.dead()) != 0 {
			t.Errorf("in the default namespace: %v, %v", w.outbox(), w.dead())
		}
	})
}
