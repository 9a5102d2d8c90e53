package messages

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/bradfitz/gomemcache/memcache"
	"google.golang.org/api/option"
	"google.golang.org/grpc"

	emulated "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/memcached"
	"github.com/latchwork/latchwork/memlock"
)

// BenchmarkDuplicates is what memlock is for: 16 duplicate deliveries of one
// task, each a transaction on one entity that takes 20 ms, with the lock in
// front and without it. The transaction has no ledger, or duplicates would stop
// there. An operation is one task, from its 16 deliveries to the last answer.
//
// With DATASTORE_EMULATOR_HOST set, that server is measured instead of ours;
// MEMCACHE_ADDR names another memcached.
//
//	go test -run='^$' -bench=Duplicates -benchtime=20x ./examples/messages
func BenchmarkDuplicates(b *testing.B) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		host := os.Getenv("DATASTORE_EMULATOR_HOST")
		if host != "" {
			if mode == "optimistic" {
				continue // the mode is the server's own
			}
			mode = "given"
		}
		for _, guard := range []string{"lock", "none"} {
			b.Run("mode="+mode+"/guard="+guard, func(b *testing.B) {
				benchmarkDuplicates(b, host, mode, guard == "lock")
			})
		}
	}
}

func benchmarkDuplicates(b *testing.B, host, mode string, locked bool) {
	const (
		duplicates = 16
		work       = 20 * time.Millisecond
	)
	if host == "" {
		s, err := emulated.New(&emulated.Options{Concurrency: mode})
		if err != nil {
			b.Fatal(err)
		}
		host = listen(b, s)
	}
	var rpcs, attempts, runs, losers atomic.Int64
	ds := benchDatastore(b, host, &rpcs)
	locker := memlock.New(memlock.NewMemcacheStore(benchMemcache(b), nil), nil)

	deliver := func(ctx context.Context, key *datastore.Key) error {
		_, err := ds.RunInTransaction(ctx, func(tx *datastore.Transaction) error {
			attempts.Add(1)
			var u user
			if err := tx.Get(key, &u); err != nil && !errors.Is(err, datastore.ErrNoSuchEntity) {
				return err
			}
			<-time.After(work) // the transaction is slow, whoever runs it
			u.Unread++
			_, err := tx.Put(key, &u)
			return err
		}, datastore.MaxAttempts(1000))
		if err == nil {
			runs.Add(1)
		}
		return err
	}
	// Connections are dialled before the clock starts.
	if err := deliver(b.Context(), datastore.NameKey("Warm", "up", nil)); err != nil {
		b.Fatal(err)
	}
	rpcs.Store(0)
	attempts.Store(0)
	runs.Store(0)

	run := time.Now().UnixNano()
	for n := 0; b.Loop(); n++ {
		name := fmt.Sprintf("%d.%d", run, n)
		key := datastore.NameKey("Duplicated", name, nil)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range duplicates {
			wg.Go(func() {
				<-start
				var err error
				if locked {
					err = locker.TryWithLock(b.Context(), name, fmt.Sprint(i), func(ctx context.Context) error { return deliver(ctx, key) })
				} else {
					err = deliver(b.Context(), key)
				}
				if err == memlock.ErrFailedToLock {
					losers.Add(1)
				} else if err != nil {
					b.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
	}

	n := float64(b.N)
	b.ReportMetric(float64(runs.Load())/n, "runs/op")
	b.ReportMetric(float64(attempts.Load())/n, "attempts/op")
	b.ReportMetric(float64(attempts.Load()-runs.Load())/n, "aborted/op")
	b.ReportMetric(float64(rpcs.Load())/n, "rpcs/op")
	b.ReportMetric(float64(losers.Load())/n, "busy/op")
	b.ReportMetric(b.Elapsed().Seconds()*1e3/n, "ms/op")
	b.ReportMetric(0, "ns/op") // said in ms
}

// listen serves s on a free port until the benchmark ends.
func listen(b *testing.B, s interface {
	Serve(net.Listener) error
	Close() error
}) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(l); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
		wg.Wait()
	})
	return l.Addr().String()
}

// benchDatastore is the official client, its RPCs counted.
func benchDatastore(b *testing.B, host string, rpcs *atomic.Int64) *datastore.Client {
	b.Helper()
	b.Setenv("DATASTORE_EMULATOR_HOST", host)
	count := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, o ...grpc.CallOption) error {
		rpcs.Add(1)
		return next(ctx, method, req, reply, cc, o...)
	}
	ds, err := datastore.NewClient(b.Context(), "bench", option.WithGRPCDialOption(grpc.WithUnaryInterceptor(count)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ds.Close() })
	return ds
}

func benchMemcache(b *testing.B) *memcache.Client {
	b.Helper()
	addr := os.Getenv("MEMCACHE_ADDR")
	if addr == "" {
		s, err := memcached.New(nil)
		if err != nil {
			b.Fatal(err)
		}
		addr = listen(b, s)
	}
	c, err := memlock.NewMemcacheClient(addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}
