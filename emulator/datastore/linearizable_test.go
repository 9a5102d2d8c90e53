package datastore_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/anishathalye/porcupine"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// world is the state that TestStrictlySerializable works on: three counters.
type world [3]int64

// step is one committed transaction, or one read outside transactions: what it
// read (-1: didn't) and wrote (-1: didn't).
type step struct{ read, wrote world }

// TestStrictlySerializable runs transactions that read some counters, or query
// all of them, and write others, against each other, with rollbacks and
// abandoned requests in between. What was committed must be explained by one
// order that also agrees with the clock.
func TestStrictlySerializable(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return world{} },
		Step: func(state, input, _ any) (bool, any) {
			w, s := state.(world), input.(step)
			for i := range w {
				if s.read[i] >= 0 && s.read[i] != w[i] {
					return false, w
				}
				if s.wrote[i] >= 0 {
					w[i] = s.wrote[i]
				}
			}
			return true, w
		},
	}
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			e := start(t, &datastore.Options{Concurrency: mode})
			a := api{e.raw(), t}
			for i := range len(world{}) {
				a.mustCommit(nil, put("W", fmt.Sprint(i), 0))
			}
			var clock, value atomic.Int64
			var mu sync.Mutex
			var history []porcupine.Operation
			var wg sync.WaitGroup
			for client := range 5 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(1, uint64(client)))
					for range 40 {
						began := clock.Add(1)
						s, ok := transact(t, a, rnd, &value)
						if !ok {
							continue
						}
						mu.Lock()
						history = append(history, porcupine.Operation{ClientId: client, Input: s, Call: began, Return: clock.Add(1)})
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if len(history) < 50 {
				t.Errorf("only %d transactions came through", len(history))
			}
			switch porcupine.CheckOperationsTimeout(model, history, time.Minute) {
			case porcupine.Illegal:
				t.Errorf("no order explains the %d transactions", len(history))
			case porcupine.Unknown:
				t.Log("not decided within a minute")
			}
			if st := e.Stats(); st.OpenTransactions != 0 || st.WaitingRequests != 0 {
				t.Errorf("%d transactions open, %d requests waiting", st.OpenTransactions, st.WaitingRequests)
			}
		})
	}
}

// transact runs one random transaction; ok is false when it had no effect.
func transact(t *testing.T, a api, rnd *rand.Rand, value *atomic.Int64) (s step, ok bool) {
	ctx := t.Context()
	s = step{world{-1, -1, -1}, world{-1, -1, -1}}
	if rnd.IntN(5) == 0 { // a blind write outside transactions
		i := rnd.IntN(3)
		s.wrote[i] = value.Add(1)
		return s, a.commit(ctx, nil, put("W", fmt.Sprint(i), s.wrote[i])) == nil
	}
	resp, err := a.BeginTransaction(ctx, &pb.BeginTransactionRequest{ProjectId: project})
	if err != nil {
		t.Error(err)
		return s, false
	}
	tx := resp.GetTransaction()
	rollback := func() {
		if _, err := a.Rollback(ctx, &pb.RollbackRequest{ProjectId: project, Transaction: tx}); err != nil {
			t.Error(err)
		}
	}
	for range rnd.IntN(3) + 1 {
		i := rnd.IntN(4)
		if i == 3 { // all of them, by a query
			names, err := a.names(tx, "W", 0)
			if err != nil {
				return failed(t, s, err, rollback)
			}
			if len(names) != 3 {
				t.Errorf("the query found %v", names)
			}
			continue
		}
		n, err := a.get(ctx, tx, "W", fmt.Sprint(i))
		if err != nil {
			return failed(t, s, err, rollback)
		}
		if s.read[i] >= 0 && s.read[i] != n {
			t.Errorf("read %d, then %d, in one transaction", s.read[i], n)
		}
		s.read[i] = n
	}
	if rnd.IntN(6) == 0 {
		rollback()
		return s, false
	}
	var writes []*pb.Mutation
	for range rnd.IntN(2) + 1 {
		i := rnd.IntN(3)
		if s.wrote[i] < 0 {
			s.wrote[i] = value.Add(1)
			writes = append(writes, put("W", fmt.Sprint(i), s.wrote[i]))
		}
	}
	if err := a.commit(ctx, tx, writes...); err != nil {
		return failed(t, s, err, rollback)
	}
	return s, true
}

// failed accepts contention as a reason to give up, and nothing else.
func failed(t *testing.T, s step, err error, rollback func()) (step, bool) {
	if status.Code(err) != codes.Aborted {
		t.Error(err)
	}
	rollback()
	return s, false
}
