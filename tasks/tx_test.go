package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

type item struct{ N int }

func itemKey(name string) *datastore.Key { return datastore.NameKey("Item", name, nil) }

// fixture is a client over the emulated Datastore, whose calls a script can
// spoil, and a queue that remembers.
type fixture struct {
	*emulatortest.Env
	script fault.Script
	queue  taskstest.Queue
	client *tasks.Client
}

func bubble(t *testing.T, o *emulatortest.Options, f func(t *testing.T, x *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &fixture{Env: emulatortest.Start(t, o)}
		var err error
		x.client, err = tasks.NewClient(x.NewDatastoreClient(grpc.WithUnaryInterceptor(x.script.Unary())), &x.queue, httpOptions())
		if err != nil {
			t.Fatal(err)
		}
		f(t, x)
	})
}

func (x *fixture) item(t *testing.T, name string) int {
	t.Helper()
	var i item
	if err := x.Datastore.Get(t.Context(), itemKey(name), &i); err != nil && err != datastore.ErrNoSuchEntity {
		t.Fatal(err)
	}
	return i.N
}

func TestTxReadsAndWrites(t *testing.T) {
	bubble(t, nil, func(t *testing.T, x *fixture) {
		keys := []*datastore.Key{itemKey("a"), itemKey("b"), itemKey("c")}
		err := x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
			if tx.Client() != x.client {
				t.Error("another client")
			}
			_, err1 := tx.PutMulti(keys[:2], []item{{1}, {2}})
			_, err2 := tx.Put(keys[2], &item{3})
			return errors.Join(err1, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
			got := make([]item, 3)
			if err := tx.GetMulti(keys, got); err != nil {
				return err
			}
			var all []item
			found, err := tx.GetAll(datastore.NewQuery("Item").Order("-N"), &all)
			if err != nil {
				return err
			}
			if diff := cmp.Diff([]item{{1}, {2}, {3}}, got); diff != "" {
				t.Errorf("GetMulti (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]item{{3}, {2}, {1}}, all); diff != "" || len(found) != 3 {
				t.Errorf("GetAll (-want +got):\n%s", diff)
			}
			_, err = tx.Mutate(datastore.NewUpdate(keys[2], &item{30}))
			return errors.Join(err, tx.Delete(keys[0]), tx.DeleteMulti(keys[1:2]))
		})
		if err != nil {
			t.Fatal(err)
		}
		if a, b, c := x.item(t, "a"), x.item(t, "b"), x.item(t, "c"); a != 0 || b != 0 || c != 30 {
			t.Errorf("%d, %d, %d", a, b, c)
		}
	})
}

// After its function has returned, a Tx does nothing more.
func TestTxIsOver(t *testing.T) {
	bubble(t, nil, func(t *testing.T, x *fixture) {
		var kept *tasks.Tx
		if err := x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		calls := map[string]error{}
		_, calls["Put"] = kept.Put(itemKey("a"), &item{1})
		_, calls["PutMulti"] = kept.PutMulti([]*datastore.Key{itemKey("a")}, []item{{1}})
		_, calls["Mutate"] = kept.Mutate(datastore.NewInsert(itemKey("a"), &item{1}))
		_, calls["GetAll"] = kept.GetAll(datastore.NewQuery("Item"), nil)
		_, calls["EnqueueTx"] = mail.EnqueueTx(kept, email{"a"}, nil)
		calls["Get"] = kept.Get(itemKey("a"), &item{})
		calls["GetMulti"] = kept.GetMulti([]*datastore.Key{itemKey("a")}, []item{{}})
		calls["Delete"] = kept.Delete(itemKey("a"))
		calls["DeleteMulti"] = kept.DeleteMulti([]*datastore.Key{itemKey("a")})
		for name, err := range calls {
			if !errors.Is(err, tasks.ErrTxDone) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Reads may run side by side, the first ones included: one transaction begins.
func TestTxConcurrentReads(t *testing.T) {
	bubble(t, nil, func(t *testing.T, x *fixture) {
		err := x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					if err := tx.Get(itemKey(fmt.Sprint(i)), &item{}); err != datastore.ErrNoSuchEntity {
						t.Errorf("read %d: %v", i, err)
					}
					if _, err := tx.Put(itemKey(fmt.Sprint(i)), &item{i}); err != nil {
						t.Errorf("write %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// Had a second transaction begun, its locks would make these wait.
		start := time.Now()
		for i := range 20 {
			if _, err := x.Datastore.Put(t.Context(), itemKey(fmt.Sprint(i)), &item{-1}); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("a stray transaction held its locks for %v", waited)
		}
	})
}

// What ends a transaction without a commit rolls it back at once, a dead
// context and a panic included: whoever comes next does not wait for its locks.
func TestEveryAttemptIsRolledBack(t *testing.T) {
	boom := errors.New("boom")
	ends := map[string]func(cancel context.CancelCauseFunc) error{
		"error":   func(context.CancelCauseFunc) error { return boom },
		"context": func(cancel context.CancelCauseFunc) error { cancel(boom); return nil },
		"panic":   func(context.CancelCauseFunc) error { panic(boom) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, x *fixture) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				err := func() (err error) {
					defer func() {
						if v := recover(); v != nil {
							err = v.(error)
						}
					}()
					return x.client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
						if err := tx.Get(itemKey("a"), &item{}); err != datastore.ErrNoSuchEntity {
							return err
						}
						return end(cancel)
					})
				}()
				if !errors.Is(err, boom) {
					t.Errorf("error %v", err)
				}
				if commits, rollbacks := x.script.Calls("Commit"), x.script.Calls("Rollback"); commits != 0 || rollbacks != 1 {
					t.Errorf("%d commits started, %d rollbacks", commits, rollbacks)
				}
				start := time.Now()
				if _, err := x.Datastore.Put(t.Context(), itemKey("a"), &item{1}); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(start); waited > time.Second {
					t.Errorf("the next writer waited %v", waited)
				}
			})
		})
	}
}

// Only the first read goes alone.
func TestTxReadsSideBySide(t *testing.T) {
	bubble(t, nil, func(t *testing.T, x *fixture) {
		x.script.On("Lookup", 0, fault.Delay(time.Second))
		start := time.Now()
		err := x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() { _ = tx.Get(itemKey(fmt.Sprint(i)), &item{}) })
			}
			wg.Wait()
			return nil
		})
		if took := time.Since(start); err != nil || took != 2*time.Second {
			t.Errorf("20 reads of 1 s took %v, %v", took, err)
		}
	})
}

// A function that returns while a read of its is under way: the rollback waits
// for the read, but not for ever.
func TestRollbackWaitsForReads(t *testing.T) {
	tests := []struct {
		read, took time.Duration
		rollbacks  int
	}{
		{time.Second, time.Second, 1},
		{time.Minute, 5 * time.Second, 0}, // left to the transaction's idle limit
	}
	for _, tt := range tests {
		bubble(t, nil, func(t *testing.T, x *fixture) {
			boom := errors.New("boom")
			read := make(chan error, 1)
			start := time.Now()
			err := x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
				if err := tx.Get(itemKey("a"), &item{}); err != datastore.ErrNoSuchEntity {
					return err
				}
				x.script.On("Lookup", 1, fault.Delay(tt.read))
				go func() { read <- tx.Get(itemKey("b"), &item{}) }()
				synctest.Wait()
				return boom
			})
			if took := time.Since(start); !errors.Is(err, boom) || took != tt.took || x.script.Calls("Rollback") != tt.rollbacks {
				t.Errorf("read of %v: took %v, %d rollbacks, %v", tt.read, took, x.script.Calls("Rollback"), err)
			}
			<-read
		})
	}
}

func TestContention(t *testing.T) {
	aborted := status.Error(codes.Aborted, "too much contention on these datastore entities. please try again.")
	bubble(t, nil, func(t *testing.T, x *fixture) {
		runs, conflicts := 0, 0
		run := func() error {
			return x.client.Transact(t.Context(), &tasks.TransactOptions{Attempts: 3, OnConflict: func(error) { conflicts++ }}, func(tx *tasks.Tx) error {
				runs++
				var i item
				if err := tx.Get(itemKey("a"), &i); err != nil && err != datastore.ErrNoSuchEntity {
					return err
				}
				i.N++
				_, err := tx.Put(itemKey("a"), &i)
				return err
			})
		}
		for i := range 2 {
			x.script.On("Commit", i+1, fault.Fail(aborted))
		}
		if err := run(); err != nil || runs != 3 || conflicts != 2 || x.item(t, "a") != 1 {
			t.Errorf("%v; %d runs, %d conflicts, N %d", err, runs, conflicts, x.item(t, "a"))
		}
		for i := range 3 {
			x.script.On("Commit", i+1, fault.Fail(aborted))
		}
		if err := run(); !errors.Is(err, tasks.ErrContention) || conflicts != 5 || x.item(t, "a") != 1 {
			t.Errorf("%v; %d conflicts, N %d", err, conflicts, x.item(t, "a"))
		}
		// Nothing else is repeated.
		runs = 0
		x.script.On("Commit", 1, fault.Fail(status.Error(codes.Unavailable, "gone")))
		err := run()
		if te, ok := errors.AsType[*tasks.TxError](err); !ok || !te.AtCommit || !te.Transient() || runs != 1 || errors.Is(err, tasks.ErrContention) {
			t.Errorf("%v after %d runs", err, runs)
		}
	})
}

// Many writers of one entity, in both modes: every success counts once.
func TestCountersUnderContention(t *testing.T) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			bubble(t, withConcurrency(mode), func(t *testing.T, x *fixture) {
				var wg sync.WaitGroup
				var mu sync.Mutex
				won := 0
				for range 16 {
					wg.Go(func() {
						err := x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
							var i item
							if err := tx.Get(itemKey("a"), &i); err != nil && err != datastore.ErrNoSuchEntity {
								return err
							}
							i.N++
							_, err := tx.Put(itemKey("a"), &i)
							return err
						})
						if err == nil {
							mu.Lock()
							won++
							mu.Unlock()
						} else if !errors.Is(err, tasks.ErrContention) {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if n := x.item(t, "a"); n != won || won == 0 {
					t.Errorf("N is %d after %d successes", n, won)
				}
			})
		})
	}
}

// A caller who leaves right after the commit doesn't keep the tasks waiting.
func TestSubmissionOutlivesTheCaller(t *testing.T) {
	bubble(t, nil, func(t *testing.T, x *fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		x.script.On("Commit", 1, func(ctx context.Context, send func() error) error { defer cancel(); return send() })
		err := x.client.RunInTransaction(ctx, func(tx *tasks.Tx) error {
			_, err := mail.EnqueueTx(tx, email{"a"}, nil)
			return err
		})
		if err != nil || ctx.Err() == nil {
			t.Fatal(err, ctx.Err())
		}
		if n := len(x.queue.Tasks("mail")); n != 1 {
			t.Errorf("%d tasks", n)
		}
	})
}

// The caller waits SubmitWait at most, however long the queue takes.
func TestSubmissionIsBounded(t *testing.T) {
	o := &emulatortest.Options{AllowOutbox: true}
	bubble(t, o, func(t *testing.T, x *fixture) {
		hang := &hangingQueue{}
		client, err := tasks.NewClient(x.Datastore, hang, httpOptions())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
			for range 40 { // more than are submitted at a time
				if _, err := mail.EnqueueTx(tx, email{"a"}, nil); err != nil {
					return err
				}
			}
			return nil
		})
		if took := time.Since(start); err != nil || took != 5*time.Second {
			t.Errorf("took %v, %v", took, err)
		}
		entries := 0
		for e, err := range client.Outbox(t.Context(), 1) {
			if err != nil || len(e.Classes) != 40 || e.Attempts != 0 {
				t.Errorf("%+v, %v", e, err)
			}
			entries++
		}
		if entries != 1 {
			t.Errorf("%d outbox entities", entries)
		}
	})
}

type hangingQueue struct{ taskstest.Queue }

// Sweeps in parallel, and beside the writer, leave nothing and create nothing
// twice.
func TestSweepsInParallel(t *testing.T) {
	bubble(t, nil, func(t *testing.T, x *fixture) {
		x.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
		for range 30 {
			err := x.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) error {
				_, err := mail.EnqueueTx(tx, email{"a"}, nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		x.queue.Refuse = nil
		time.Sleep(time.Minute)
		shards, err := x.client.OutboxShards(t.Context(), 16)
		if err != nil || len(shards) < 2 || len(shards) > 16 {
			t.Fatalf("shards %v, %v", shards, err)
		}
		var wg sync.WaitGroup
		for range 3 {
			for shard := range 16 {
				wg.Go(func() {
					if _, err := x.client.SweepOutbox(t.Context(), shard, 16); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if n := len(x.queue.Tasks("mail")); n != 30 {
			t.Errorf("%d tasks, want 30", n)
		}
		if shards, err := x.client.OutboxShards(t.Context(), 16); err != nil || len(shards) != 0 {
			t.Errorf("left in shards %v, %v", shards, err)
		}
	})
}
