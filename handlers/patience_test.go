package handlers_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
)

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

// A start whose commit landed while its answer was lost came to an outcome, too.
func TestLostAnswerToAStartIsNotACrash(t *testing.T) {
	class := tasks.NewClass("work", &tasks.ClassOptions[string]{MaxAttempts: 2})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, class.HandleTx(bumper))
		task := w.enqueue(class, "a", nil)
		for retry := 2; retry < 6; retry++ {
			w.rpcs.script(func(method string, n int, call func() error) error {
				if err := call(); err != nil || method != "Commit" || n > 1 {
					return err
				}
				return status.Error(codes.DeadlineExceeded, "the answer is lost")
			})
			w.expect(task, retry, handlers.OutcomeUnavailable)
			w.wantRow(task, ledgerRow{})
		}
		w.rpcs.script(nil)
		w.expect(task, 6, handlers.OutcomeCommitted)
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
