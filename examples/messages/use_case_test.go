package messages

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
)

// (a) A message to 100 recipients ends in two rounds of shards: the deliveries,
// then all receipts, and the reminder that follows from them, in one
// transaction.
func TestA_HundredRecipientsEndInTwoRounds(t *testing.T) {
	integration(t, func(t *testing.T) {
		c := newCloud(t, "")
		slot := c.span(4*time.Second, 20*time.Second) // 100 transactions fit into 3/4 of it
		w := c.newWorker("worker:80", workerOptions{app: Options{Slot: slot}})
		message := w.send(w.names(100, "ada")...)
		sent := time.Now()
		w.until("all receipts are in", func() bool {
			b, err := w.app.Books(t.Context(), message)
			return err == nil && b.Receipts == 100 && w.app.Stats().Commits >= 1+100+1
		})
		if took := time.Since(sent); took > 2*(slot+slot*3/4)+w.late(time.Second) {
			t.Errorf("the receipts took %v, which is more than two slots", took)
		}
		stats := w.app.Stats()
		if want := int64(1 + 100 + 1); stats.Commits != want {
			t.Errorf("%d transactions; want %d: the message, each delivery, and all receipts in one", stats.Commits, want)
		}
		if stats.Mutations != 200 || stats.Conflicts != 0 {
			t.Errorf("%d mutations ran and %d transactions collided; want 200 and 0", stats.Mutations, stats.Conflicts)
		}
		if n := w.journalled("reminder " + message); n != 1 {
			t.Errorf("%d reminders wait in the journal; want 1, from the transaction of the receipts", n)
		}
		if b := w.balanced(message); b.TimedOut || b.Failures != 0 {
			t.Errorf("the books are %+v", b)
		}
	})
}

// (b) Sixteen duplicate deliveries of a shard's task: exactly one is inside the
// lock, and the work runs once.
func TestB_DuplicatesMeetTheLock(t *testing.T) {
	variants(t)
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			integration(t, func(t *testing.T) {
				r := deliverDuplicates(t, mode, nil)
				if r.inside != 1 || r.runs != 1 || r.raised != 1 {
					t.Errorf("%d deliveries inside the lock, %d runs of the work, %d commits of it; want 1 of each", r.inside, r.runs, r.raised)
				}
				if r.conflicts != 0 {
					t.Errorf("%d conflicts behind the lock", r.conflicts)
				}
				if r.coalesced != 15 {
					t.Errorf("%d deliveries left it to the next slot; want 15", r.coalesced)
				}
			})
		})
	}
}

// (b) The same without the lock: the work runs 16 times. Only the optimistic
// mode makes them collide; in the other they wait for one another.
func TestB_DuplicatesWithoutTheLock(t *testing.T) {
	variants(t)
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			integration(t, func(t *testing.T) {
				chosenBackend(t).differs(t, firestore, "transactions that have read the same entity keep each other from committing until a time-out aborts them",
					"github.com/firebase/firebase-tools/issues/8300")
				switch r := deliverDuplicates(t, mode, everybody{}); {
				case mode == "pessimistic" && (r.runs != 16 || r.raised != 16 || r.conflicts != 0):
					t.Errorf("%d runs, %d commits, %d conflicts; want 16, 16 and 0", r.runs, r.raised, r.conflicts)
				case mode == "optimistic" && (r.runs < 16 || r.conflicts == 0 || r.raised < 2):
					t.Errorf("%d runs, %d conflicts, %d commits; want at least 16, 1 and 2", r.runs, r.conflicts, r.raised)
				}
			})
		})
	}
}

// everybody is a lock store that lets everybody in.
type everybody struct{}

func (everybody) Acquire(context.Context, string, string, time.Duration) (string, error) {
	return "", nil
}
func (everybody) Extend(context.Context, string, string, time.Duration) (bool, error) {
	return true, nil
}
func (everybody) Release(context.Context, string, string) error { return nil }

type duplicated struct {
	inside, runs, conflicts, coalesced int64
	raised                             int
}

// deliverDuplicates delivers a shard's task, whose work takes 20 ms, 16 times at
// once. (On the real clock it takes until all of them are there.)
func deliverDuplicates(t *testing.T, mode string, store memlock.Store) (d duplicated) {
	const duplicates = 16
	var runs atomic.Int64
	delivered := make(chan struct{})
	var once sync.Once
	c := newCloud(t, mode)
	work := c.span(20*time.Millisecond, 500*time.Millisecond)
	w := c.newWorker("worker:80", workerOptions{
		store: store,
		mutations: probes(func(_ context.Context, r *Root, _ *probe) error {
			runs.Add(1)
			err := raise(r)
			<-time.After(work)
			return err
		}),
		around: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				var wg sync.WaitGroup
				once.Do(func() {
					for range duplicates - 1 {
						wg.Go(func() { next.ServeHTTP(httptest.NewRecorder(), withBody(r, body)) })
					}
					defer close(delivered)
					defer wg.Wait()
					next.ServeHTTP(rw, withBody(r, body))
				})
			})
		},
	})
	w.app.o.Cache = nil // or the last round would spare the others theirs
	w.emit(&probe{User: "bob"})
	<-delivered
	return duplicated{
		inside: w.locked.Load(), runs: runs.Load(), conflicts: w.app.Stats().Conflicts,
		coalesced: w.outcomes.Count(handlers.OutcomeCoalesced), raised: w.unread("bob"),
	}
}

func withBody(r *http.Request, body []byte) *http.Request {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r
}

// (c) Busy is never lost: a mutation that is written in the holder's last round
// still runs, without cron.
func TestC_BusyIsNeverLost(t *testing.T) {
	integration(t, func(t *testing.T) {
		holding, release := make(chan struct{}), make(chan struct{})
		var late atomic.Int64
		w := newCloud(t, "").newWorker("worker:80", workerOptions{
			app: Options{Shards: 1, ProcessLoop: time.Nanosecond}, // every round is the last
			mutations: probes(func(ctx context.Context, r *Root, p *probe) error {
				if p.Name == "late" {
					late.Add(1)
					return raise(r)
				}
				close(holding)
				<-release
				return nil
			}),
		})
		w.emit(&probe{Name: "holder", User: "bob"})
		<-holding
		w.emit(&probe{Name: "late", User: "eve"})
		w.until("its task has met the holder", func() bool { return w.outcomes.Count(handlers.OutcomeCoalesced) > 0 })
		if late.Load() != 0 {
			t.Fatal("the late mutation ran beside the holder of its shard")
		}
		close(release)
		w.until("the late mutation has run", func() bool { return w.unread("eve") == 1 })
		if n := w.app.Stats().Runs; n < 2 {
			t.Errorf("%d runs; the holder's last round cannot have seen it", n)
		}
	})
}

// (d) The lock's key is stolen or evicted in mid-run: the context of the work
// is cancelled, and nothing of it is committed until somebody has the lock
// again.
func TestD_LostLockCommitsNothing(t *testing.T) {
	variants(t)
	for name, take := range map[string]func(locks, testing.TB, string){"stolen": locks.steal, "evicted": locks.evict} {
		t.Run(name, func(t *testing.T) {
			integration(t, func(t *testing.T) {
				holding, lost, looked := make(chan struct{}), make(chan error), make(chan struct{})
				var runs atomic.Int64
				w := newCloud(t, "").newWorker("worker:80", workerOptions{
					app: Options{Shards: 1},
					mutations: probes(func(ctx context.Context, r *Root, _ *probe) error {
						if err := raise(r); err != nil {
							return err
						}
						if runs.Add(1) > 1 {
							<-looked
							return nil
						}
						close(holding)
						<-ctx.Done()
						lost <- context.Cause(ctx)
						return nil // as if it had not noticed
					}),
				})
				w.emit(&probe{User: "bob"})
				<-holding
				since := time.Now()
				take(w.locks, t, "memlock:/"+w.app.shardKey(0, "lock"))
				if cause := <-lost; !errors.Is(cause, memlock.ErrLost) {
					t.Errorf("the context ended with %v; want ErrLost", cause)
				}
				if noticed := time.Since(since); noticed > w.late(cmp.Or(w.locks.options().Refresh, 2*time.Second)+time.Second) {
					t.Errorf("it took %v to notice", noticed)
				}
				w.until("the delivery is answered", func() bool { return w.outcomes.Count(handlers.OutcomeInterrupted) == 1 })
				if n := w.unread("bob"); n != 0 {
					t.Errorf("%d commits without the lock", n)
				}
				close(looked)
				w.until("the work is done by another run", func() bool { return w.unread("bob") > 0 })
				if n := w.unread("bob"); n != 1 || runs.Load() != 2 {
					t.Errorf("%d commits in %d runs; want 1 in 2", n, runs.Load())
				}
			})
		})
	}
}

// (e) memcached is down, from the start or in mid-run: the work is done all the
// same, or retried, never acknowledged undone.
func TestE_MemcachedDown(t *testing.T) {
	variants(t)
	t.Run("from the start", func(t *testing.T) {
		integration(t, func(t *testing.T) {
			w := newCloud(t, "").newWorker("worker:80", workerOptions{})
			w.locks.down(true)
			w.balanced(w.send(w.names(20, "")...))
			if n := w.locked.Load(); n != 0 {
				t.Errorf("%d locks taken in a memcached that is down", n)
			}
		})
	})
	t.Run("in mid-run", func(t *testing.T) {
		integration(t, func(t *testing.T) {
			holding := make(chan struct{})
			var runs atomic.Int64
			w := newCloud(t, "").newWorker("worker:80", workerOptions{
				app: Options{Shards: 1},
				mutations: probes(func(ctx context.Context, r *Root, _ *probe) error {
					if runs.Add(1) == 1 {
						close(holding)
						<-ctx.Done()
					}
					return raise(r)
				}),
			})
			w.emit(&probe{User: "bob"})
			<-holding
			w.locks.down(true)
			w.until("the work is done", func() bool { return w.unread("bob") > 0 })
			w.locks.down(false)
			w.Advance(w.span(time.Minute, 10*time.Second))
			if n := w.unread("bob"); n != 1 {
				t.Errorf("%d commits; want 1", n)
			}
		})
	})
}

// (f) A crash after a commit and before the journal's entry is deleted: the
// mutation runs again and changes nothing.
func TestF_CrashBeforeTheDelete(t *testing.T) {
	integration(t, func(t *testing.T) {
		c := newCloud(t, "")
		var deletes atomic.Int64
		c.refuse = func(r *pb.CommitRequest) bool { // every other delete of entries
			return deletesEntries(r) && deletes.Add(1)%2 == 1
		}
		w := c.newWorker("worker:80", workerOptions{app: Options{Shards: 1}})
		books := w.balanced(w.send("bob"))
		if n := deletes.Load(); n != 4 {
			t.Errorf("%d deletes; want two for the delivery and two for the receipt", n)
		}
		if n := w.app.Stats().Mutations; n != 2+2+1 {
			t.Errorf("%d mutations ran; want the delivery and the receipt twice, the reminder once", n)
		}
		if books.Delivered != 1 || books.Receipts != 1 || books.Notifications != 1 || w.unread("bob") != 1 {
			t.Errorf("the books are %+v, and bob has %d unread; want one of each", books, w.unread("bob"))
		}
	})
}

// deletesEntries recognises the deletes of finished mutations, which come after
// their transaction.
func deletesEntries(r *pb.CommitRequest) bool {
	if r.GetMode() != pb.CommitRequest_NON_TRANSACTIONAL || len(r.GetMutations()) == 0 {
		return false
	}
	path := r.GetMutations()[0].GetDelete().GetPath()
	return len(path) > 0 && path[len(path)-1].GetKind() == journalKind
}
