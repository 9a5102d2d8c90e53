package datastore_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/clock"
)

// Every commit that is aborted is one that the client's own loop tries again, and
// its locks are free at once.
func TestChaosAborts(t *testing.T) {
	for _, concurrency := range []string{"pessimistic", "optimistic"} {
		synctest.Test(t, func(t *testing.T) {
			c, err := chaos.New(chaos.Settings{Seed: 1, Abort: 0.3}, nil)
			if err != nil {
				t.Fatal(err)
			}
			e := start(t, &datastore.Options{Concurrency: concurrency, Chaos: c})
			client := e.client()
			key := ds.NameKey("Counter", "it", nil)
			began, runs := time.Now(), 0
			for range 40 {
				_, err := client.RunInTransaction(t.Context(), func(tx *ds.Transaction) error {
					runs++
					var n counter
					if err := tx.Get(key, &n); err != nil && !errors.Is(err, ds.ErrNoSuchEntity) {
						return err
					}
					n.N++
					_, err := tx.Put(key, &n)
					return err
				}, ds.MaxAttempts(20))
				if err != nil {
					t.Fatal(err)
				}
			}
			var n counter
			if err := client.Get(t.Context(), key, &n); err != nil || n.N != 40 {
				t.Errorf("counter %+v, error %v", n, err)
			}
			aborted := int(c.Injected()["abort"])
			if runs != 40+aborted || aborted < 5 || aborted > 40 {
				t.Errorf("%d runs for 40 commits, %d were aborted", runs, aborted)
			}
			if took := time.Since(began); took > 59*time.Second {
				t.Errorf("took %v: somebody has waited for the locks of an aborted transaction", took)
			}
			if n := e.Stats().OpenTransactions; n != 0 {
				t.Errorf("%d transactions are left", n)
			}
		})
	}
}

// An aborted commit names its fault; one of a transaction that never was keeps
// the error of its own.
func TestChaosAbortsWhatCouldCommit(t *testing.T) {
	c, err := chaos.New(chaos.Settings{Abort: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	api := start(t, &datastore.Options{Chaos: c}).raw()
	commit := func(tx []byte) error {
		r := &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
		if tx != nil {
			r.Mode, r.TransactionSelector = pb.CommitRequest_TRANSACTIONAL, &pb.CommitRequest_Transaction{Transaction: tx}
		}
		_, err := api.Commit(t.Context(), r)
		return err
	}
	begun, err := api.BeginTransaction(t.Context(), &pb.BeginTransactionRequest{ProjectId: project})
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range [][]byte{nil, begun.GetTransaction()} {
		if err := commit(tx); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "too much contention") || !strings.Contains(err.Error(), "chaos") {
			t.Errorf("transaction %q: %v", tx, err)
		}
	}
	if err := commit([]byte("nonsense")); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a transaction that never was: %v", err)
	}
}

func TestChaosOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := chaos.New(chaos.Settings{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		e := start(t, &datastore.Options{Chaos: c})
		client, api := e.client(), e.raw()
		if err := c.Set(chaos.Settings{Seed: 1, DatastoreOutage: 1}); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			if _, err := client.Put(t.Context(), ds.IDKey("Note", int64(i+1), nil), &counter{N: i}); status.Code(err) != codes.Unavailable {
				t.Errorf("put %d: %v", i, err)
			}
		}
		if _, err := api.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project}); status.Code(err) != codes.Unavailable {
			t.Errorf("lookup: %v", err)
		}
		if err := c.Set(chaos.Settings{}); err != nil {
			t.Fatal(err)
		}
		n, err := client.Count(t.Context(), ds.NewQuery("Note"))
		if err != nil || n < 10 || n > 30 || c.Injected()["datastoreOutage"] != 41 {
			t.Errorf("%d of 40 were stored, error %v; injected %v", n, err, c.Injected())
		}
	})
}

// Versions and read times follow the clock, stand nearly still with it and never
// go back; the past is as old as the clock says.
func TestClockOfVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := clock.New()
		e := start(t, &datastore.Options{Clock: clk})
		api, client := e.raw(), e.client()
		key := ds.NameKey("Note", "it", nil)
		var last time.Time
		put := func() time.Time {
			t.Helper()
			resp, err := api.Commit(t.Context(), &pb.CommitRequest{
				ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL,
				Mutations: []*pb.Mutation{{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{
					Key: &pb.Key{PartitionId: &pb.PartitionId{ProjectId: project}, Path: []*pb.Key_PathElement{
						{Kind: "Note", IdType: &pb.Key_PathElement_Name{Name: "it"}},
					}},
					Properties: map[string]*pb.Value{"N": {ValueType: &pb.Value_IntegerValue{IntegerValue: last.UnixMicro()}}},
				}}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			at := time.UnixMicro(resp.GetMutationResults()[0].GetVersion())
			if !at.After(last) {
				t.Errorf("committed at %v after %v", at, last)
			}
			last = at
			return at
		}
		first := put()
		if err := clk.Advance(30 * time.Minute); err != nil {
			t.Fatal(err)
		}
		if d := put().Sub(first); d < 29*time.Minute || d > 31*time.Minute {
			t.Errorf("committed %v later", d)
		}
		clk.Freeze()
		frozen := put()
		time.Sleep(10 * time.Hour)
		if d := put().Sub(frozen); d > time.Second {
			t.Errorf("committed %v later by a frozen clock", d)
		}
		var n counter
		if err := client.WithReadOptions(ds.ReadTime(first.Add(time.Second))).Get(t.Context(), key, &n); err != nil {
			t.Errorf("half an hour ago: %v", err)
		}
		if err := clk.Advance(time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := client.WithReadOptions(ds.ReadTime(first.Add(time.Second))).Get(t.Context(), key, &n); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("more than an hour ago: %v", err)
		}
	})
}

// A transaction is its client's: however far the clock is advanced, it is still
// there, and it expires while the clock is frozen.
func TestTransactionsKeepTheMachinesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := clock.New()
		e := start(t, &datastore.Options{Clock: clk})
		client := e.client()
		tx, err := client.NewTransaction(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := clk.Advance(24 * time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Put(ds.NameKey("Note", "it", nil), &counter{}); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(); err != nil {
			t.Errorf("commit a day later: %v", err)
		}
		if _, err := client.NewTransaction(t.Context()); err != nil {
			t.Fatal(err)
		}
		clk.Freeze()
		time.Sleep(61 * time.Second)
		if n := e.Stats().OpenTransactions; n != 0 {
			t.Errorf("%d transactions are open after a minute without a request", n)
		}
	})
}
