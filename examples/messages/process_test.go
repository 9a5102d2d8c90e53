package messages

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"

	"github.com/latchwork/latchwork/handlers"
)

// (g) A chain of 40 mutations on one root runs in one transaction.
func TestG_TailCalls(t *testing.T) {
	integration(t, func(t *testing.T) {
		w := newCloud(t, "").newWorker("worker:80", workerOptions{
			mutations: probes(func(_ context.Context, r *Root, p *probe) error {
				if err := raise(r); err != nil || p.Left == 0 {
					return err
				}
				return r.Emit(&probe{User: p.User, Left: p.Left - 1})
			}),
		})
		w.emit(&probe{User: "bob", Left: 39})
		w.until("the chain has run", func() bool { return w.unread("bob") > 0 })
		w.drained()
		if n, commits := w.unread("bob"), w.app.Stats().Commits; n != 40 || commits != 2 {
			t.Errorf("%d steps in %d transactions; want 40 steps in 1, beside the writer's", n, commits-1)
		}
		w.until("the journal is empty", func() bool { return w.journalled("") == 0 })
	})
}

// (h) A delayed mutation waits for its time; a cancelled one never runs.
func TestH_DelayedAndCancelled(t *testing.T) {
	integration(t, func(t *testing.T) {
		c := newCloud(t, "")
		w := c.newWorker("worker:80", workerOptions{app: Options{Timeout: c.span(5*time.Minute, 45*time.Second)}})
		message := w.send("bob", "eve")
		sent := time.Now()
		w.balanced(message)
		if took := time.Since(sent); took < w.app.o.Reminder || took > w.app.o.Reminder+w.late(time.Minute) {
			t.Errorf("the reminder came after %v; want %v after the receipts", took, w.app.o.Reminder)
		}
		w.Advance(2 * w.app.o.Timeout)
		if books := w.balanced(message); books.TimedOut {
			t.Error("the time-out ran, which the last receipt had cancelled")
		}
		if n := w.journalled(""); n != 0 {
			t.Errorf("%d mutations left", n)
		}
	})
}

// (h) The time-out runs when answers are missing; these count when they come.
func TestH_TimeOut(t *testing.T) {
	integration(t, func(t *testing.T) {
		c := newCloud(t, "")
		var asleep atomic.Bool
		asleep.Store(true)
		w := c.newWorker("worker:80", workerOptions{
			app:       Options{Timeout: 20 * time.Second},
			mutations: mutationTypes{"SendMessage": func() Mutation { return &drowsy{asleep: &asleep} }},
		})
		message := w.send("bob")
		w.until("the time-out has run", func() bool {
			b, err := w.app.Books(t.Context(), message)
			return err == nil && b.TimedOut
		})
		asleep.Store(false)
		if b := w.balanced(message); b.Receipts != 1 {
			t.Errorf("the books are %+v", b)
		}
		if w.app.Stats().Failures == 0 {
			t.Error("no failure was counted")
		}
	})
}

// drowsy is a sendMessage that fails while asleep.
type drowsy struct {
	sendMessage
	asleep *atomic.Bool
}

func (d *drowsy) Run(ctx context.Context, r *Root) error {
	if d.asleep.Load() {
		panic("asleep")
	}
	return d.sendMessage.Run(ctx, r)
}

// (i) Two namespaces, with digits at their ends, at once.
func TestI_Namespaces(t *testing.T) {
	integration(t, func(t *testing.T) {
		c := newCloud(t, "")
		ns1 := c.newWorker("worker1:80", workerOptions{namespace: "ns1"})
		ns2 := c.newWorker("worker2:80", workerOptions{namespace: "ns2"})
		one, two := ns1.send(ns1.names(20, "")...), ns2.send(ns2.names(20, "")...)
		ns1.balanced(one)
		ns2.balanced(two)
		if _, err := ns2.app.Books(t.Context(), one); err == nil {
			t.Error("a message of ns1 is in ns2")
		}
	})
}

// (j) The number of shards is lowered while tasks are queued: the tasks of dead
// shards are acknowledged, and their work is done by the shards that there are.
func TestJ_FewerShards(t *testing.T) {
	integration(t, func(t *testing.T) {
		c := newCloud(t, "")
		before := c.newWorker("before:80", workerOptions{app: Options{Shards: 32}})
		w := c.newWorker("worker:80", workerOptions{app: Options{Shards: 3}})
		before.client = w.client
		before.app.client = w.client // its tasks go to the new worker
		w.balanced(before.send(w.names(40, "")...))
		if w.outcomes.Count(handlers.OutcomeFailed) != 0 {
			t.Error("a task of a dead shard was not acknowledged")
		}
	})
}

// A page of the journal that ends inside a root is followed by the next root,
// and each root is processed once in a round.
func TestFullBatches(t *testing.T) {
	integration(t, func(t *testing.T) {
		w := newCloud(t, "").newWorker("worker:80", workerOptions{
			app:       Options{Shards: 1, Batch: 10},
			mutations: probes(func(_ context.Context, r *Root, _ *probe) error { return raise(r) }),
		})
		var ps []*probe
		for _, name := range []string{"bob", "eve", "joe"} {
			for range 25 {
				ps = append(ps, &probe{User: name})
			}
		}
		w.emit(ps...)
		w.until("the journal is empty", func() bool { return w.journalled("") == 0 })
		w.drained()
		for _, name := range []string{"bob", "eve", "joe"} {
			if n := w.unread(name); n != 25 {
				t.Errorf("%s: %d mutations ran; want 25", name, n)
			}
		}
		if n, conflicts := w.app.Stats().Commits, w.app.Stats().Conflicts; n != 1+3*3 || conflicts != 0 {
			t.Errorf("%d transactions, %d conflicts; want the writer's and three batches for each root, without any", n, conflicts)
		}
	})
}

// A mutation that fails is postponed, and those beside it commit.
func TestFailingMutationLetsOthersPass(t *testing.T) {
	integration(t, func(t *testing.T) {
		var bad atomic.Int64
		looked := make(chan struct{})
		w := newCloud(t, "").newWorker("worker:80", workerOptions{
			mutations: probes(func(_ context.Context, r *Root, p *probe) error {
				if err := raise(r); err != nil || p.Name != "bad" {
					return err
				}
				if bad.Load() > 0 {
					<-looked
				}
				if bad.Add(1) < 4 {
					return errors.New("not today")
				}
				return nil
			}),
		})
		w.emit(&probe{Name: "bad", User: "bob"}, &probe{Name: "good", User: "bob"})
		w.until("the good one has run", func() bool { return w.unread("bob") > 0 })
		if n := w.unread("bob"); n != 1 || bad.Load() != 1 {
			t.Errorf("counter %d after %d failures; the failed one's write must be gone", n, bad.Load())
		}
		close(looked)
		w.until("the bad one has run", func() bool { return w.journalled("") == 0 })
		w.drained()
		if n := w.unread("bob"); n != 2 || w.app.Stats().Failures != 3 {
			t.Errorf("counter %d after %d failures; want 2 after 3", n, w.app.Stats().Failures)
		}
		if n := w.outcomes.Count(handlers.OutcomeFailed); n != 0 {
			t.Errorf("%d deliveries failed; the shard's task is not to blame", n)
		}
	})
}

// The task of a commit that took longer than its slot was already used up by
// another commit of that slot, and saw nothing of the slow one.
func TestSlowCommitStillWakesItsShard(t *testing.T) {
	integration(t, func(t *testing.T) {
		c := newCloud(t, "")
		slotIsOver := make(chan struct{})
		c.refuse = func(r *pb.CommitRequest) bool {
			if strings.Contains(r.String(), "dawdle") {
				<-slotIsOver
			}
			return false
		}
		w := c.newWorker("worker:80", workerOptions{
			app:       Options{Shards: 1},
			mutations: probes(func(_ context.Context, r *Root, _ *probe) error { return raise(r) }),
		})
		var slow sync.WaitGroup
		slow.Go(func() { w.emit(&probe{Name: "dawdle", User: "bob"}) })
		w.emit(&probe{User: "eve"})
		w.until("the shard has run", func() bool { return w.unread("eve") == 1 })
		if n := w.unread("bob"); n != 0 {
			t.Fatal("the slow commit was not slow")
		}
		close(slotIsOver)
		slow.Wait()
		w.until("the slow commit's mutation has run", func() bool { return w.unread("bob") == 1 })
	})
}
