package datastore_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/anishathalye/porcupine"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// world is the state that TestStrictlySerializable works on: the numbers of a few
// entities, absent for those that don't exist.
type world [4]int64

const (
	absent = -1
	none   = -2 // not read, or not written
)

func newWorld(n int64) (w world) {
	for i := range w {
		w[i] = n
	}
	return w
}

// scan is a query for the numbers from least on, and what it found.
type scan struct {
	least int64
	names string // of the entities; "" when it only counted
	count int
}

// explains reports whether the scan of w finds what it found.
func (s scan) explains(w world) bool {
	names, count := "", 0
	for i, n := range w {
		if n >= s.least {
			names += fmt.Sprint(i)
			count++
		}
	}
	return count == s.count && (s.names == "" || s.names == names)
}

// step is one committed transaction, or one read or write outside transactions.
type step struct {
	read, wrote world
	scans       []scan
}

// TestStrictlySerializable runs transactions that look entities up, query and
// count them, and write and delete others, against each other, with rollbacks
// and writes outside transactions in between, with read-only transactions and
// with reads at times of the past. What came through must be explained by one
// order that also agrees with the clock.
func TestStrictlySerializable(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return newWorld(absent) },
		Step: func(state, input, _ any) (bool, any) {
			w, s := state.(world), input.(step)
			for _, scan := range s.scans {
				if !scan.explains(w) {
					return false, w
				}
			}
			for i := range w {
				if s.read[i] != none && s.read[i] != w[i] {
					return false, w
				}
				if s.wrote[i] != none {
					w[i] = s.wrote[i]
				}
			}
			return true, w
		},
	}
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			e := start(t, &datastore.Options{Concurrency: mode})
			h := &history{}
			var wg sync.WaitGroup
			for id := range 5 {
				c := &serialClient{api: api{e.raw(), t}, id: id, history: h, rnd: rand.New(rand.NewPCG(1, uint64(id)))}
				wg.Go(func() {
					for range 60 {
						c.act()
					}
				})
			}
			wg.Wait()
			if len(h.ops) < 150 {
				t.Errorf("only %d operations came through", len(h.ops))
			}
			switch porcupine.CheckOperationsTimeout(model, h.ops, time.Minute) {
			case porcupine.Illegal:
				t.Errorf("no order explains the %d operations", len(h.ops))
			case porcupine.Unknown:
				t.Log("not decided within a minute")
			}
			if st := e.Stats(); st.OpenTransactions != 0 || st.WaitingRequests != 0 {
				t.Errorf("%d transactions open, %d requests waiting", st.OpenTransactions, st.WaitingRequests)
			}
		})
	}
}

// history is what the clients of TestStrictlySerializable did.
type history struct {
	clock, value atomic.Int64
	mu           sync.Mutex
	ops          []porcupine.Operation
}

func (h *history) add(client int, s step, call, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: s, Call: call, Return: end})
}

// serialClient does one thing after the other.
type serialClient struct {
	api
	id      int
	history *history
	rnd     *rand.Rand
}

// act does one random thing and notes it if it had an effect.
func (c *serialClient) act() {
	began := c.history.clock.Add(1)
	s := step{read: newWorld(none), wrote: newWorld(none)}
	var ok bool
	switch c.rnd.IntN(6) {
	case 0: // a blind write outside transactions
		ok = c.commit(c.t.Context(), nil, c.write(&s)) == nil
	case 1:
		ok = c.transact(&s, &pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadOnly_{ReadOnly: &pb.TransactionOptions_ReadOnly{}}})
	case 2:
		c.readTwice(began)
		return
	default:
		ok = c.transact(&s, nil)
	}
	if ok {
		c.history.add(c.id, s, began, c.history.clock.Add(1))
	}
}

// write returns a random mutation and notes it.
func (c *serialClient) write(s *step) *pb.Mutation {
	i := c.rnd.IntN(len(s.wrote))
	for s.wrote[i] != none { // one of each transaction
		i = (i + 1) % len(s.wrote)
	}
	if c.rnd.IntN(3) == 0 {
		s.wrote[i] = absent
		return remove(key("W", fmt.Sprint(i)))
	}
	s.wrote[i] = c.history.value.Add(1)
	return put("W", fmt.Sprint(i), s.wrote[i])
}

// readTwice reads, and reads the same time again later: both must be explained by
// a moment in the first interval.
func (c *serialClient) readTwice(began int64) {
	s := step{read: newWorld(none), wrote: newWorld(none)}
	i := c.rnd.IntN(len(s.read))
	resp, err := c.Lookup(c.t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("W", fmt.Sprint(i))}})
	if err != nil {
		c.t.Error(err)
		return
	}
	end := c.history.clock.Add(1)
	s.read[i] = counted(resp)
	c.history.add(c.id, s, began, end)

	_ = c.commit(c.t.Context(), nil, put("Other", "x", c.history.value.Add(1)))
	past := step{read: newWorld(none), wrote: newWorld(none)}
	o := &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadTime{ReadTime: resp.GetReadTime()}}
	found, err := c.query(o, 0)
	if err != nil {
		c.t.Error(err)
		return
	}
	past.scans = []scan{found}
	again, err := c.Lookup(c.t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("W", fmt.Sprint(i))}, ReadOptions: o})
	if err != nil || counted(again) != s.read[i] {
		c.t.Errorf("read %d, and at the same time %d, %v", s.read[i], counted(again), err)
	}
	c.history.add(c.id, past, began, end)
}

func counted(resp *pb.LookupResponse) int64 {
	if len(resp.GetFound()) == 0 {
		return absent
	}
	return resp.GetFound()[0].GetEntity().GetProperties()["n"].GetIntegerValue()
}

// query finds the names of the entities with numbers from least on, or counts them.
func (c *serialClient) query(o *pb.ReadOptions, least int64) (scan, error) {
	s := scan{least: least}
	q := &pb.Query{
		Kind: []*pb.KindExpression{{Name: "W"}},
		Filter: &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
			Property: &pb.PropertyReference{Name: "n"}, Op: pb.PropertyFilter_GREATER_THAN_OR_EQUAL, Value: integer(least)}}},
	}
	if c.rnd.IntN(2) == 0 {
		resp, err := c.RunAggregationQuery(c.t.Context(), &pb.RunAggregationQueryRequest{ProjectId: project, ReadOptions: o,
			QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
				QueryType: &pb.AggregationQuery_NestedQuery{NestedQuery: q},
				Aggregations: []*pb.AggregationQuery_Aggregation{{Alias: "n", Operator: &pb.AggregationQuery_Aggregation_Count_{
					Count: &pb.AggregationQuery_Aggregation_Count{}}}},
			}}})
		if err == nil {
			s.count = int(resp.GetBatch().GetAggregationResults()[0].GetAggregateProperties()["n"].GetIntegerValue())
		}
		return s, err
	}
	resp, err := c.RunQuery(c.t.Context(), &pb.RunQueryRequest{ProjectId: project, ReadOptions: o, QueryType: &pb.RunQueryRequest_Query{Query: q}})
	var names world
	for _, r := range resp.GetBatch().GetEntityResults() {
		names[r.GetEntity().GetKey().GetPath()[0].GetName()[0]-'0'] = 1
		s.count++
	}
	var b strings.Builder
	for i, n := range names {
		if n == 1 {
			fmt.Fprint(&b, i)
		}
	}
	s.names = b.String()
	return s, err
}

// transact runs one random transaction; it reports whether it had an effect.
func (c *serialClient) transact(s *step, o *pb.TransactionOptions) bool {
	ctx := c.t.Context()
	begun, err := c.BeginTransaction(ctx, &pb.BeginTransactionRequest{ProjectId: project, TransactionOptions: o})
	if err != nil {
		c.t.Error(err)
		return false
	}
	tx := begun.GetTransaction()
	for range c.rnd.IntN(3) + 1 {
		if c.rnd.IntN(3) == 0 {
			found, err := c.query(inTx(tx), c.rnd.Int64N(c.history.value.Load()+1))
			if err != nil {
				return c.failed(tx, err)
			}
			s.scans = append(s.scans, found)
			continue
		}
		i := c.rnd.IntN(len(s.read))
		n, err := c.get(ctx, tx, "W", fmt.Sprint(i))
		if err != nil {
			return c.failed(tx, err)
		}
		if s.read[i] != none && s.read[i] != n {
			c.t.Errorf("read %d, then %d, in one transaction", s.read[i], n)
		}
		s.read[i] = n
	}
	if c.rnd.IntN(6) == 0 {
		c.giveUp(tx)
		return false
	}
	var mutations []*pb.Mutation
	for o == nil && len(mutations) < 2 && c.rnd.IntN(4) > 0 {
		mutations = append(mutations, c.write(s))
	}
	if err := c.commit(ctx, tx, mutations...); err != nil {
		return c.failed(tx, err)
	}
	return true
}

// failed accepts contention as a reason to give up, and nothing else.
func (c *serialClient) failed(tx []byte, err error) bool {
	if status.Code(err) != codes.Aborted {
		c.t.Error(err)
	}
	c.giveUp(tx)
	return false
}

func (c *serialClient) giveUp(tx []byte) {
	if _, err := c.Rollback(c.t.Context(), &pb.RollbackRequest{ProjectId: project, Transaction: tx}); err != nil {
		c.t.Error(err)
	}
}

// TestThePastStandsStill reads one time over and over while others write: it
// always looks the same, in every way to read it.
func TestThePastStandsStill(t *testing.T) {
	e := start(t, nil)
	a := api{e.raw(), t}
	for i := range 20 {
		a.mustCommit(nil, put("P", fmt.Sprint(i), int64(i)))
	}
	first, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("P", "0")}})
	if err != nil {
		t.Fatal(err)
	}
	when := first.GetReadTime()
	want, _ := seen(t, a, atTime(when))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for n := int64(0); ; n++ {
				select {
				case <-done:
					return
				default:
				}
				name := fmt.Sprint((n*7 + int64(w)) % 30)
				m := put("P", name, n)
				if n%3 == 0 {
					m = remove(key("P", name))
				}
				if err := a.commit(t.Context(), nil, m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 100 {
		if got, _ := seen(t, a, atTime(when)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
			break
		}
	}
	close(done)
	wg.Wait()
}

func atTime(t *timestamppb.Timestamp) *pb.ReadOptions {
	return &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadTime{ReadTime: t}}
}
