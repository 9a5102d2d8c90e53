package handlers_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// BenchmarkDelivery takes one task through lock, ledger, handler and commit;
// the bare transaction beside it is what any handler pays.
func BenchmarkDelivery(b *testing.B) {
	env := emulatortest.Start(b, nil)
	queue := &taskstest.Queue{}
	client, err := tasks.NewClient(env.Datastore, queue, &tasks.ClientOptions{Project: "p", Location: "l", URL: "http://worker"})
	if err != nil {
		b.Fatal(err)
	}
	put := func(tx *tasks.Tx) error {
		_, err := tx.Put(datastore.IncompleteKey("Effect", nil), &effect{"a"})
		return err
	}
	class := tasks.NewClass[int]("bench", nil)
	server, err := handlers.New(client, memlock.New(memlocktest.NewStore(), nil), anyone{}, []tasks.Handler{
		class.HandleTx(func(_ context.Context, tx *tasks.Tx, _ int) error { return put(tx) }),
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	parallel := func(b *testing.B, f func()) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f()
			}
		})
	}
	b.Run("transaction", func(b *testing.B) {
		parallel(b, func() {
			if err := client.RunInTransaction(b.Context(), put); err != nil {
				b.Error(err)
			}
		})
	})
	b.Run("delivery", func(b *testing.B) {
		for range b.N {
			if _, err := class.Enqueue(b.Context(), client, 1, nil); err != nil {
				b.Fatal(err)
			}
		}
		all := queue.Tasks("")
		all = all[len(all)-b.N:]
		var next atomic.Int64
		b.ResetTimer()
		parallel(b, func() {
			if got := deliver(server, b.Context(), all[next.Add(1)-1], 0); got != http.StatusOK {
				b.Errorf("answer %d", got)
			}
		})
	})
}
