package handlers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
)

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

func TestHandlerPastItsDeadlineIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, s string) error {
			<-ctx.Done()
			_ = bump(tx, s) // too late
			return nil
		}))
		task := w.enqueue(work, "a", nil)
		start := time.Now()
		w.expect(task, 0, handlers.OutcomeTimedOut)
		if took := time.Since(start); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("answered after %v", took)
		}
		w.wantRow(task, ledgerRow{Failures: 1})
		if n := w.count("a"); n != 0 {
			t.Errorf("%d commits past the deadline", n)
		}
	})
}

// The Datastore client waits for a server that is away, so that an outage looks
// like a read that the deadline cuts off. That says nothing about the handler.
func TestReadCutOffByTheDeadlineIsNotCounted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		task := w.enqueue(work, "a", nil)
		w.rpcs.script(func(method string, n int, call func() error) error {
			if method == "Lookup" && n == 2 {
				sleep(time.Minute) // the client's own timeout
				return status.Error(codes.DeadlineExceeded, "context deadline exceeded")
			}
			return call()
		})
		w.expect(task, 0, handlers.OutcomeUnavailable)
		w.rpcs.script(nil)
		w.wantRow(task, ledgerRow{State: "absent"})
		w.expect(task, 1, handlers.OutcomeCommitted)
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
