package handlers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// Each test here is one schedule of events that the delivery protocol guards
// against. The test is the queue: it delivers, again and late, as it likes.

// bumper is the usual handler.
func bumper(ctx context.Context, tx *tasks.Tx, name string) error { return bump(tx, name) }

func (w *world) enqueue(c tasks.Class[string], payload string, o *tasks.EnqueueOptions) taskstest.Task {
	w.Helper()
	if _, err := c.Enqueue(w.Context(), w.client, payload, o); err != nil {
		w.Fatal(err)
	}
	all := w.queue.Tasks(c.Spec().Name)
	return all[len(all)-1]
}

// lostAnswer makes the n-th commit take effect and its answer be lost.
func (w *world) lostAnswer(nth int, code codes.Code) {
	w.rpcs.script(func(method string, n int, call func() error) error {
		err := call()
		if method == "Commit" && n == nth && err == nil {
			return status.Error(code, "the answer was lost")
		}
		return err
	})
}

func TestCommitLandsWhileItsAnswerIsLost(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.Canceled} {
		t.Run(code.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.serve(nil, work.HandleTx(bumper))
				task := w.enqueue(work, "a", nil)
				w.lostAnswer(1, code)
				w.expect(task, 0, handlers.OutcomeUnavailable) // nothing is known, so nothing is counted
				w.rpcs.script(nil)
				w.wantRow(task, ledgerRow{State: "done"})
				w.expect(task, 1, handlers.OutcomeDuplicate)
				if n := w.count("a"); n != 1 {
					t.Errorf("%d commits", n)
				}
			})
		})
	}
}

// ABORTED means "not committed" and is tried again at once; should it have been
// a lie, the ledger's read in the next attempt finds out.
func TestCommitLandsWhileItsAnswerSaysAborted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		task := w.enqueue(work, "a", nil)
		w.lostAnswer(1, codes.Aborted)
		w.expect(task, 0, handlers.OutcomeDuplicate)
		if n := w.count("a"); n != 1 || w.last().Conflicts != 1 {
			t.Errorf("%d commits, %d conflicts", n, w.last().Conflicts)
		}
	})
}

// The client library repeats a commit whose answer was lost; the second finds
// its transaction gone, which looks like the handler's fault. The read that
// comes with the count of the failure settles it.
func TestFailureIsNotCountedWhenTheCommitLanded(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.AlreadyExists} {
		t.Run(code.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.serve(nil, work.HandleTx(bumper))
				task := w.enqueue(work, "a", nil)
				w.lostAnswer(1, code)
				w.expect(task, 0, handlers.OutcomeDuplicate)
				w.wantRow(task, ledgerRow{State: "done"})
				if n := w.count("a"); n != 1 {
					t.Errorf("%d commits", n)
				}
			})
		})
	}
}

// Trouble of the handler's own reads counts nothing, whatever it returned.
func TestTroubleOfReadsIsNotCounted(t *testing.T) {
	returns := map[string]func(error) error{
		"the error":     func(err error) error { return err },
		"another error": func(error) error { return errors.New("it went wrong") },
		"nothing":       func(error) error { return nil },
		"a verdict":     func(error) error { return tasks.Dead(errors.New("hopeless")) },
	}
	for name, what := range returns {
		for _, code := range []codes.Code{codes.Unavailable, codes.Aborted} {
			t.Run(name+"/"+code.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
						return what(bump(tx, s))
					}))
					task := w.enqueue(work, "a", nil)
					w.rpcs.script(func(method string, n int, call func() error) error {
						if method == "Lookup" && n%2 == 0 { // the ledger's read comes first
							return status.Error(code, "injected")
						}
						return call()
					})
					want := handlers.OutcomeUnavailable
					if code == codes.Aborted {
						want = handlers.OutcomeContention
					}
					w.expect(task, 0, want)
					commits, rollbacks := w.rpcs.count("Commit"), w.rpcs.count("Rollback")
					w.rpcs.script(nil)
					w.wantRow(task, ledgerRow{State: "absent"})
					if attempts := w.last().Conflicts; commits != 0 || rollbacks != max(1, attempts) {
						t.Errorf("%d commits, %d rollbacks of %d attempts", commits, rollbacks, max(1, attempts))
					}
					if code == codes.Aborted && w.last().Conflicts != 5 {
						t.Errorf("%d conflicts, want the 5 attempts", w.last().Conflicts)
					}
				})
			})
		}
	}
}

func TestContentionIsRepeatedAndNotCounted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		task := w.enqueue(work, "a", nil)
		aborted := func(times int) {
			w.rpcs.script(func(method string, n int, call func() error) error {
				if method == "Commit" && n <= times {
					return status.Error(codes.Aborted, "too much contention on these datastore entities. please try again.")
				}
				return call()
			})
		}
		aborted(5)
		w.expect(task, 0, handlers.OutcomeContention)
		if r := w.rpcs.count("Rollback"); r != 5 {
			t.Errorf("%d rollbacks of 5 attempts", r)
		}
		w.wantRow(task, ledgerRow{State: "absent"})
		aborted(4)
		w.expect(task, 1, handlers.OutcomeCommitted)
		if n := w.count("a"); n != 1 || w.last().Conflicts != 4 {
			t.Errorf("%d commits, %d conflicts", n, w.last().Conflicts)
		}
	})
}

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

func TestHandlerPastItsDeadlineIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			<-ctx.Done()
			return bump(tx, s) // too late, whatever it returns
		}))
		task := w.enqueue(work, "a", nil)
		start := time.Now()
		status := w.push(task, 0)
		if e := w.last(); status != 500 || (e.Outcome != handlers.OutcomeTimedOut && e.Outcome != handlers.OutcomeUnavailable) {
			t.Fatalf("%d, %v", status, e.Outcome)
		}
		if took := time.Since(start); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("answered after %v", took)
		}
		if n := w.count("a"); n != 0 {
			t.Errorf("%d commits past the deadline", n)
		}
	})
}

// A handler that ignores its context is left behind 5 s after its deadline; the
// timeout is counted; what it does afterwards comes to nothing.
func TestHandlerIgnoresItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		late := make(chan error, 1)
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			d, _ := tasks.DeliveryFrom(ctx)
			if d.Attempt > 1 {
				return bump(tx, s)
			}
			sleep(2 * time.Minute)
			late <- bump(tx, s)
			return nil
		}))
		task := w.enqueue(work, "a", nil)
		start := time.Now()
		w.expect(task, 0, handlers.OutcomeTimedOut)
		if took := time.Since(start); took < 65*time.Second || took > 66*time.Second {
			t.Errorf("answered after %v, want the deadline and 5 s", took)
		}
		w.wantRow(task, ledgerRow{Failures: 1})
		if holder := w.locks.Owner("memlock:/work/" + task.Envelope.ID); holder != "" {
			t.Errorf("the lock is still held by %s", holder)
		}
		w.expect(task, 1, handlers.OutcomeCommitted)
		if err := <-late; !errors.Is(err, tasks.ErrTxDone) {
			t.Errorf("the late handler's write: %v", err)
		}
		if n := w.count("a"); n != 1 {
			t.Errorf("%d commits", n)
		}
	})
}

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
			if wait := left[0].NextTry.Sub(time.Now()); wait > time.Hour {
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

// A lost lock: the handler's context is cancelled, no commit is started,
// nothing is counted.
func TestLockLostInMidRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var cause error
		attempt := 0
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			if attempt++; attempt == 1 {
				w.locks.Evict("memlock:/work/" + w.task("work", 0).Envelope.ID)
				<-ctx.Done()
				cause = context.Cause(ctx)
			}
			return bump(tx, s)
		}))
		task := w.enqueue(work, "a", nil)
		w.expect(task, 0, handlers.OutcomeInterrupted)
		if !errors.Is(cause, memlock.ErrLost) {
			t.Errorf("the handler's context ended with %v", cause)
		}
		w.wantRow(task, ledgerRow{State: "absent"})
		if n := w.count("a"); n != 0 {
			t.Errorf("%d commits without the lock", n)
		}
		w.expect(task, 1, handlers.OutcomeCommitted)
	})
}

func TestMemcachedDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		task := w.enqueue(work, "a", nil)
		w.locks.SetOutage(errors.New("connection refused"))
		w.expect(task, 0, handlers.OutcomeCommitted)
		w.expect(task, 1, handlers.OutcomeDuplicate)
		if n := w.count("a"); n != 1 {
			t.Errorf("%d commits", n)
		}
		w.serve(&handlers.Options{LockOutage: handlers.RefuseWithoutLock}, work.HandleTx(bumper))
		other := w.enqueue(work, "b", nil)
		w.expect(other, 0, handlers.OutcomeLockDown)
		w.wantRow(other, ledgerRow{State: "absent"})
		w.locks.SetOutage(nil)
		w.expect(other, 1, handlers.OutcomeCommitted)
	})
}

// Duplicates that run side by side because memcached is down: the ledger, in
// the transaction, lets one commit.
func TestSimultaneousDuplicatesWithoutLock(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.locks.SetOutage(errors.New("connection refused"))
		task := w.enqueue(work, "a", nil)
		done := make(chan int)
		const n = 8
		for range n {
			go func() { done <- w.push(task, 0) }()
		}
		for range n {
			<-done
		}
		w.expect(task, 1, handlers.OutcomeDuplicate)
		if n := w.count("a"); n != 1 {
			t.Errorf("%d commits", n)
		}
	})
}

// The same for a handler whose slow part is outside the transaction: both
// duplicates are past it when the first commits.
func TestSimultaneousDuplicatesOfHandleThen(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n = 4
		var slow sync.WaitGroup
		slow.Add(n)
		w.serve(nil, work.HandleThen(func(ctx context.Context, name string) (func(*tasks.Tx) error, error) {
			slow.Done()
			slow.Wait()
			return func(tx *tasks.Tx) error { return bump(tx, name) }, nil
		}))
		w.locks.SetOutage(errors.New("connection refused"))
		task := w.enqueue(work, "a", nil)
		done := make(chan int)
		for range n {
			go func() { done <- w.push(task, 0) }()
		}
		for range n {
			<-done
		}
		w.wantRow(task, ledgerRow{State: "done"})
		if n := w.count("a"); n != 1 {
			t.Errorf("%d commits", n)
		}
	})
}

// hold starts a delivery and waits until it is inside its handler, which holds
// the lock until the test lets it go.
func (w *world) hold(task taskstest.Task, inside chan struct{}) (answer chan int) {
	answer = make(chan int, 1)
	go func() { answer <- w.push(task, 0) }()
	<-inside
	return answer
}

func TestBusyIsRetriedNotAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		inside, release := make(chan struct{}), make(chan error)
		runs := 0
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			if runs++; runs > 1 {
				return bump(tx, s)
			}
			close(inside)
			return <-release
		}))
		task := w.enqueue(work, "a", nil)
		answer := w.hold(task, inside)
		lookups := w.rpcs.count("Lookup")
		w.expect(task, 1, handlers.OutcomeBusy)
		if n := w.rpcs.count("Lookup"); n != lookups {
			t.Errorf("a busy delivery read Datastore %d times", n-lookups)
		}
		release <- errors.New("the holder fails")
		if status := <-answer; status != 500 {
			t.Errorf("the holder answered %d", status)
		}
		w.expect(task, 2, handlers.OutcomeCommitted)
	})
}

func TestBusyDone(t *testing.T) {
	class := tasks.NewClass("refresh", &tasks.ClassOptions[string]{Busy: tasks.BusyDone, LockKey: func(s string) string { return "cache/" + s }})
	bubble(t, func(t *testing.T, w *world) {
		inside, release := make(chan struct{}), make(chan error)
		w.serve(nil, class.Handle(func(context.Context, string) error { close(inside); return <-release }))
		first, second := w.enqueue(class, "a", nil), w.enqueue(class, "a", nil)
		answer := w.hold(first, inside)
		w.expect(second, 0, handlers.OutcomeBusyDone)
		release <- nil
		if status := <-answer; status != 200 {
			t.Errorf("the holder answered %d", status)
		}
	})
}

// No lost wake-up: a busy coalescing delivery first creates the next slot's
// task, then is acknowledged; if it cannot, it is not.
func TestBusyCoalesceLosesNoWakeUp(t *testing.T) {
	class := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(s string) string { return "tumble." + s + ".lock" }})
	bubble(t, func(t *testing.T, w *world) {
		inside, release := make(chan struct{}), make(chan error)
		runs := 0
		w.serve(nil, class.Handle(func(context.Context, string) error {
			if runs++; runs > 1 {
				return nil
			}
			close(inside)
			return <-release
		}))
		first := w.enqueue(class, "7", nil)
		sleep(time.Until(first.Due))
		answer := w.hold(first, inside)

		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
		w.expect(first, 1, handlers.OutcomeBusy)
		w.queue.Refuse = nil
		w.expect(first, 1, handlers.OutcomeCoalesced)
		next := w.task("shard", 1)
		if !next.Due.After(time.Now()) || next.Name == first.Name || next.Envelope.ID == first.Envelope.ID {
			t.Errorf("the next slot's task: %+v", next)
		}
		w.expect(first, 2, handlers.OutcomeCoalesced) // duplicates collapse
		if n := len(w.queue.Tasks("shard")); n != 2 {
			t.Errorf("%d tasks", n)
		}
		release <- nil
		<-answer
		w.expect(next, 0, handlers.OutcomeCommitted)
		w.wantRow(first, ledgerRow{State: "absent"})
		if runs != 2 {
			t.Errorf("%d runs", runs)
		}
	})
}

// A task that is run by hand before its slot, and is busy, must not take itself
// for the next slot's.
func TestBusyCoalesceRunEarly(t *testing.T) {
	class := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(s string) string { return s }})
	bubble(t, func(t *testing.T, w *world) {
		inside, release := make(chan struct{}), make(chan error)
		w.serve(nil, class.Handle(func(context.Context, string) error { close(inside); return <-release }))
		task := w.enqueue(class, "7", nil)
		answer := w.hold(task, inside)
		w.expect(task, 1, handlers.OutcomeCoalesced)
		if next := w.task("shard", 1); !next.Due.After(task.Due) {
			t.Errorf("due %v, not after %v", next.Due, task.Due)
		}
		release <- nil
		<-answer
	})
}

func TestUnknownClassWhileADeployRolls(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil)
		task := w.enqueue(work, "a", nil)
		w.expect(task, 0, handlers.OutcomeUnknownClass)
		w.wantRow(task, ledgerRow{State: "absent"})
		old := w.server
		w.serve(nil, tasks.NewClass("renamed", &tasks.ClassOptions[string]{Aliases: []string{"work"}}).HandleTx(bumper)) // the new version is up
		w.expect(task, 1, handlers.OutcomeCommitted)

		w.server = old // it never comes
		lost := w.enqueue(work, "b", nil)
		sleep(7*24*time.Hour + time.Second)
		w.expect(lost, 999, handlers.OutcomeDead)
		if d := w.dead(); len(d) != 1 || d[0].Reason != "unknown-class" || d[0].Class != "work" {
			t.Errorf("dead letters %+v", d)
		}
	})
}

func TestNewerVersionWhileADeployRolls(t *testing.T) {
	v2 := tasks.NewClass("work", &tasks.ClassOptions[string]{Version: 2})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		task := w.enqueue(v2, "a", nil)
		w.expect(task, 0, handlers.OutcomeNewerVersion)
		w.serve(nil, v2.HandleTx(bumper))
		w.expect(task, 1, handlers.OutcomeCommitted)
		w.expect(w.enqueue(work, "b", nil), 0, handlers.OutcomeCommitted) // older ones still run
	})
}

func (w *world) raw(method, path, contentType string, body []byte) int {
	r := httptest.NewRequestWithContext(w.Context(), method, path, bytes.NewReader(body))
	r.Header.Set("X-CloudTasks-TaskName", "t1")
	r.Header.Set("Authorization", contentType)
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	return rec.Code
}

func TestMalformedBody(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		bodies := map[string][]byte{
			"empty":       nil,
			"not JSON":    []byte("hello"),
			"other class": w.enqueue(tasks.NewClass[string]("other", nil), "x", nil).Request.GetTask().GetHttpRequest().GetBody(),
			"huge":        bytes.Repeat([]byte("x"), 2<<20),
			"binary":      {0xff, 0xfe, 0},
		}
		for name, body := range bodies {
			for range 2 {
				if got := w.raw("POST", "/_latchwork/tasks/work", "", body); got != 200 || w.last().Outcome != handlers.OutcomeMalformed {
					t.Errorf("%s: %d, %v (%v)", name, got, w.last().Outcome, w.last().Err)
				}
			}
		}
		dead := w.dead()
		sleep(time.Hour)
		w.raw("POST", "/_latchwork/tasks/work", "", bodies["binary"])
		for _, d := range w.dead() {
			if time.Since(d.At) < time.Hour {
				t.Errorf("a dead letter was overwritten: %+v", d)
			}
		}
		if len(dead) != len(bodies) {
			t.Errorf("%d dead letters for %d bodies that came twice each", len(dead), len(bodies))
		}
		for _, d := range dead {
			if !d.Malformed || d.Reason != "malformed" || d.Payload != nil || !strings.Contains(d.Error, "bytes") || len(d.Error) > 8<<10 {
				t.Errorf("dead letter %+v", d)
			}
			if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), d.Key, &handlers.RedriveOptions{MayRepeat: true}); !errors.Is(err, handlers.ErrMalformed) {
				t.Errorf("redrive: %v", err)
			}
		}
		// Without a dead letter there is no acknowledgement.
		w.rpcs.script(func(method string, n int, call func() error) error { return errUnavailable })
		if got := w.raw("POST", "/_latchwork/tasks/work", "", []byte("bye")); got != 500 {
			t.Errorf("answer %d although the dead letter could not be written", got)
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

func TestCallerNotVerified(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		for _, path := range []string{"/_latchwork/tasks/work", "/_latchwork/tasks/unknown", "/_latchwork/sweep"} {
			if got := w.raw("POST", path, "Bearer evil", []byte("hello")); got != http.StatusForbidden {
				t.Errorf("%s: %d", path, got)
			}
		}
		if n := len(w.dead()); n != 0 || w.rpcs.count("Commit") != 0 {
			t.Errorf("%d dead letters by a stranger", n)
		}
	})
}

// A crash loop is told from an outage: starts without an outcome.
func TestCrashLoop(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 3})
	bubble(t, func(t *testing.T, w *world) {
		var crashing, crashed atomic.Bool
		w.serve(nil, class.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			crashed.Store(crashing.Load())
			return bump(tx, s)
		}))
		task := w.enqueue(class, "a", nil)
		// The process dies in the handler: from there on nothing that it does
		// reaches Datastore, not even the rollback, so that its transaction's
		// locks last until their idle limit.
		crash := func(retry int) {
			w.Helper()
			crashing.Store(true)
			w.rpcs.script(func(method string, n int, call func() error) error {
				if crashed.Load() {
					return errUnavailable
				}
				return call()
			})
			w.push(task, retry)
			crashing.Store(false)
			crashed.Store(false)
			w.rpcs.script(nil)
			sleep(2 * time.Minute)
		}
		crash(0)
		crash(2)
		w.wantRow(task, ledgerRow{State: "absent"}) // below MaxAttempts nothing is written
		crash(3)
		w.wantRow(task, ledgerRow{Starts: 1})
		crash(4)
		w.wantRow(task, ledgerRow{Starts: 2})
		// An outcome that the runner reaches clears them.
		w.rpcs.script(func(method string, n int, call func() error) error {
			if method == "Commit" && n >= 2 && n <= 6 { // the handler's, in all its attempts
				return status.Error(codes.Aborted, "contention")
			}
			return call()
		})
		w.expect(task, 5, handlers.OutcomeContention)
		w.rpcs.script(nil)
		w.wantRow(task, ledgerRow{})
		for i := range 3 {
			crash(6 + i)
			w.wantRow(task, ledgerRow{Starts: i + 1})
		}
		w.expect(task, 9, handlers.OutcomeDead)
		if d := w.dead(); len(d) != 1 || d[0].Reason != "crash-loop" {
			t.Errorf("dead letters %+v", d)
		}
		if n := w.count("a"); n != 0 {
			t.Errorf("%d commits", n)
		}
	})
}

// An outage of any length counts nothing, and the task runs when it is over.
func TestOutageIsNotACrashLoop(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 2})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, class.HandleTx(bumper))
		task := w.enqueue(class, "a", nil)
		w.rpcs.script(func(method string, n int, call func() error) error { return errUnavailable })
		for retry := range 20 {
			w.expect(task, retry, handlers.OutcomeUnavailable)
		}
		w.rpcs.script(nil)
		w.expect(task, 20, handlers.OutcomeCommitted)
	})
}

func TestNotAfter(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		fail := true
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			if fail {
				return errors.New("no luck")
			}
			return bump(tx, s)
		}))
		failed, waited := w.enqueue(work, "failed", nil), w.enqueue(work, "waited", nil)
		w.expect(failed, 0, handlers.OutcomeFailed)
		fail = false
		sleep(7*24*time.Hour + time.Second)
		w.expect(failed, 1, handlers.OutcomeDead)
		if d := w.dead(); len(d) != 1 || d[0].Reason != "expired" || d[0].Failures != 1 {
			t.Errorf("dead letters %+v", d)
		}
		w.expect(waited, 0, handlers.OutcomeCommitted) // the queue was paused: no fault of the task
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

// Shutdown waits, then cancels what is left 2 s before the end of its grace;
// that counts nothing.
func TestGracefulShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		inside := make(chan struct{}, 2)
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, name string) error {
			inside <- struct{}{}
			if name == "quick" {
				sleep(3 * time.Second)
				return bump(tx, name)
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), handlers.ErrShutdown) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return ctx.Err()
		}))
		quick, slow := w.enqueue(work, "quick", nil), w.enqueue(work, "slow", nil)
		answers := map[string]chan int{"quick": make(chan int, 1), "slow": make(chan int, 1)}
		for _, task := range []taskstest.Task{quick, slow} {
			name := strings.Trim(string(task.Envelope.Payload), `"`)
			go func() { answers[name] <- w.push(task, 0) }()
			<-inside
		}
		ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 8*time.Second || took > 9*time.Second {
			t.Errorf("shutdown took %v, want grace − 2 s", took)
		}
		if q, s := <-answers["quick"], <-answers["slow"]; q != 200 || s != 500 {
			t.Errorf("quick answered %d, slow %d", q, s)
		}
		w.wantRow(slow, ledgerRow{State: "absent"})
		w.expect(slow, 1, handlers.OutcomeShutdown) // nothing new is taken
		if _, err := w.server.Sweep(w.Context()); !errors.Is(err, handlers.ErrShutdown) {
			t.Errorf("sweep after shutdown: %v", err)
		}
	})
}

// The queue gives up on a delivery, or its connection breaks: uncounted.
func TestCallerGoesAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(w.Context())
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}))
		task := w.enqueue(work, "a", nil)
		if got := w.pushTo(w.server, ctx, task, 0); got != 500 || w.last().Outcome != handlers.OutcomeInterrupted {
			t.Errorf("%d, %v", got, w.last().Outcome)
		}
		w.wantRow(task, ledgerRow{State: "absent"})
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
