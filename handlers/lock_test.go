package handlers_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

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

// A coalescing task that fails is tried until NotAfter, then kept as a dead letter:
// nothing is counted for it, so nothing else would ever end it.
func TestCoalescingTaskThatFailsExpires(t *testing.T) {
	class := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, MaxAge: time.Minute, LockKey: func(s string) string { return s }})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, class.Handle(func(context.Context, string) error { return errors.New("broken") }))
		task := w.enqueue(class, "7", nil)
		sleep(time.Until(task.Due))
		for attempt := range 40 { // more than MaxAttempts: these are not counted
			w.expect(task, attempt, handlers.OutcomeFailed)
		}
		sleep(time.Until(task.Envelope.NotAfter) + time.Millisecond)
		w.expect(task, 40, handlers.OutcomeDead)
		if dead := w.dead(); len(dead) != 1 || dead[0].Reason != "expired" {
			t.Errorf("dead letters: %+v", dead)
		}
	})
}

// A transaction whose commit comes after the slot that its coalescing task was
// staged for, or whose process died there: another's task of that slot and name
// has run, and seen nothing of it. The task moves to a slot that is yet to come.
func TestCoalescingTaskOfASlowCommit(t *testing.T) {
	class := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(s string) string { return s }})
	for name, crash := range map[string]bool{"slow": false, "crashed": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.serve(nil, class.Handle(func(context.Context, string) error { return nil }))
				err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
					if _, err := class.EnqueueTx(tx, "7", nil); err != nil {
						return err
					}
					first := w.enqueue(class, "7", nil) // the other's task, in the same slot
					sleep(time.Until(first.Due))
					w.expect(first, 0, handlers.OutcomeCommitted)
					if crash {
						w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if crash {
					w.queue.Refuse = nil
					sleep(time.Minute)
					if _, err := w.server.Sweep(w.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if all := w.queue.Tasks("shard"); len(all) != 2 || !all[1].Due.After(time.Now()) {
					t.Errorf("no task is left to see what was committed: %+v", all)
				}
				if left := w.outbox(); len(left) != 0 {
					t.Errorf("outbox: %+v", left)
				}
			})
		})
	}
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

// A delivery whose context ends before it has the lock says nothing about
// memcached: it neither runs without the lock nor slows the queue down.
func TestContextEndsBeforeTheLock(t *testing.T) {
	shard := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(s string) string { return s }})
	for name, o := range map[string]*handlers.Options{"proceed": {}, "refuse": {LockOutage: handlers.RefuseWithoutLock}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.serve(o, shard.Handle(func(context.Context, string) error { t.Error("the handler ran"); return nil }))
				ctx, cancel := context.WithCancel(w.Context())
				cancel()
				if status := w.pushTo(w.server, ctx, w.enqueue(shard, "a", nil), 0); status != 500 || w.last().Outcome != handlers.OutcomeInterrupted {
					t.Errorf("%v, %d", w.last().Outcome, status)
				}
			})
		})
	}
}

// The next slot's task has the payload of the delivery that it stands for, with
// the fields that only a newer version knows.
func TestBusyCoalesceKeepsUnknownFields(t *testing.T) {
	type v1 struct{ Key string }
	type v2 struct{ Key, More string }
	older := tasks.NewClass("shard", &tasks.ClassOptions[v1]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(p v1) string { return p.Key }})
	newer := tasks.NewClass("shard", &tasks.ClassOptions[v2]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(p v2) string { return p.Key }})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, older.Handle(func(context.Context, v1) error { return nil }))
		if _, err := newer.Enqueue(w.Context(), w.client, v2{"7", "detail"}, nil); err != nil {
			t.Fatal(err)
		}
		w.locks.Steal("memlock:/7", "another", time.Minute)
		w.expect(w.task("shard", 0), 0, handlers.OutcomeCoalesced)
		if next := w.task("shard", 1).Envelope; string(next.Payload) != `{"Key":"7","More":"detail"}` {
			t.Errorf("payload %s", next.Payload)
		}
	})
}
