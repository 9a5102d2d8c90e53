package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	ds "cloud.google.com/go/datastore"
	"google.golang.org/api/iterator"
)

// row is an entity of the size that small programs have.
type row struct {
	Name   string
	Shard  int
	Parity string
	Size   float64
	Note   string `datastore:",noindex"`
}

// entities is how many rows the queries run over, families how many ancestors
// they have: the children of one are a hundredth of all.
const (
	entities = 100_000
	families = 100
)

// newRow is a row as it is in a round: never twice the same, since a server may
// notice that an entity is put as it was.
func newRow(i, round int) *row {
	return &row{
		Name: fmt.Sprintf("name-%06d-%d", i, round), Shard: i / families % 10, Parity: []string{"even", "odd"}[i%2], Size: float64(i),
		Note: "some text that nobody searches for, as there is in most entities",
	}
}

func rowKey(i int) *ds.Key {
	return ds.IDKey("Row", int64(i+1), ds.IDKey("Family", int64(i%families+1), nil))
}

// load puts rows from..to, in commits of 500 by four callers.
func load(ctx context.Context, c *ds.Client, from, to int) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	next.Store(int64(from))
	errs := make(chan error, 4)
	for range 4 {
		wg.Go(func() {
			for {
				lo := int(next.Add(500)) - 500
				if lo >= to {
					return
				}
				if err := putMulti(ctx, c, lo, min(lo+500, to), 0); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func putMulti(ctx context.Context, c *ds.Client, from, to, round int) error {
	var keys []*ds.Key
	var rows []*row
	for i := from; i < to; i++ {
		keys, rows = append(keys, rowKey(i)), append(rows, newRow(i, round))
	}
	_, err := c.PutMulti(ctx, keys, rows)
	return err
}

// work is one thing to measure: do is called by so many callers at once, each
// with its own number, and counts as so many operations.
type work struct {
	name    string
	callers int
	counts  int
	do      func(ctx context.Context, c *ds.Client, caller, round int) error
}

// works are the measurements over the loaded rows.
func works() []work {
	var rounds atomic.Int64
	get := func(ctx context.Context, c *ds.Client, caller, round int) error {
		var r row
		return c.Get(ctx, rowKey((caller*7919+round*104729)%entities), &r)
	}
	put := func(ctx context.Context, c *ds.Client, caller, round int) error {
		i := (caller*7919 + round*104729) % entities
		_, err := c.Put(ctx, rowKey(i), newRow(i, 1+int(rounds.Add(1))))
		return err
	}
	count := func(q *ds.Query, want int) func(context.Context, *ds.Client, int, int) error {
		q = q.KeysOnly()
		return func(ctx context.Context, c *ds.Client, _, _ int) error {
			r, err := c.RunAggregationQuery(ctx, q.NewAggregationQuery().WithCount("n"))
			if err != nil {
				return err
			}
			n, ok := r["n"].(interface{ GetIntegerValue() int64 })
			if !ok || n.GetIntegerValue() != int64(want) {
				return fmt.Errorf("counted %v, want %d", r["n"], want)
			}
			return nil
		}
	}
	modify := func(key func(caller int) *ds.Key) func(context.Context, *ds.Client, int, int) error {
		return func(ctx context.Context, c *ds.Client, caller, _ int) error {
			_, err := c.RunInTransaction(ctx, func(tx *ds.Transaction) error {
				var n struct{ N int }
				if err := tx.Get(key(caller), &n); err != nil && !errors.Is(err, ds.ErrNoSuchEntity) {
					return err
				}
				n.N++
				_, err := tx.Put(key(caller), &n)
				return err
			}, ds.MaxAttempts(1000))
			return err
		}
	}
	return []work{
		{"put, 1 caller", 1, 1, put},
		{"put, 32 callers", 32, 1, put},
		{"get, 1 caller", 1, 1, get},
		{"get, 32 callers", 32, 1, get},
		{"put 500 at once, 4 callers (entities)", 4, 500, func(ctx context.Context, c *ds.Client, caller, round int) error {
			from := (caller*25_000 + round*500) % entities
			return putMulti(ctx, c, from, from+500, 1+int(rounds.Add(1)))
		}},
		{"query: ancestor and filter, 100 results", 1, 1, func(ctx context.Context, c *ds.Client, _, round int) error {
			q := ds.NewQuery("Row").Ancestor(ds.IDKey("Family", int64(round%families+1), nil)).FilterField("Shard", "=", round%10)
			n := 0
			for it := c.Run(ctx, q); ; n++ {
				var r row
				if _, err := it.Next(&r); errors.Is(err, iterator.Done) {
					break
				} else if err != nil {
					return err
				}
			}
			if n != 100 {
				return fmt.Errorf("%d results, want 100", n)
			}
			return nil
		}},
		{"count: whole kind", 1, 1, count(ds.NewQuery("Row"), entities)},
		{"count: one filter", 1, 1, count(ds.NewQuery("Row").FilterField("Parity", "=", "even"), entities/2)},
		{"count: inequality", 1, 1, count(ds.NewQuery("Row").FilterField("Size", ">=", float64(entities)/2), entities/2)},
		{"count: two filters", 1, 1, count(ds.NewQuery("Row").FilterField("Parity", "=", "even").FilterField("Shard", "=", 3), entities/20)},
		{"read-modify-write, 32 callers on 32 keys", 32, 1, modify(func(caller int) *ds.Key {
			return ds.IDKey("Counter", int64(caller+1), nil)
		})},
		{"read-modify-write, 16 callers on one key", 16, 1, modify(func(int) *ds.Key {
			return ds.IDKey("Counter", 1000, nil)
		})},
	}
}

// figure is what one repetition of a work measured.
type figure struct {
	perSecond float64
	cpu       time.Duration // of the server, per operation
}

// grace is how long an operation that has begun may take beyond the end.
const grace = 10 * time.Second

// run has the callers work for so long, and measures from the first start to
// the last end. A transaction that its client gave up on, after all the attempts
// of its own, or that hasn't ended long after all should have, is not counted;
// any other error ends the run.
func (w work) run(ctx context.Context, s *server, length time.Duration) (figure, error) {
	var wg sync.WaitGroup
	var done atomic.Int64
	errs := make(chan error, w.callers)
	cpu, begin := s.cpu(), time.Now()
	ctx, cancel := context.WithDeadline(ctx, begin.Add(length+grace))
	defer cancel()
	for caller := range w.callers {
		wg.Go(func() {
			for round := 0; time.Since(begin) < length; round++ {
				switch err := w.do(ctx, s.client, caller, round); {
				case errors.Is(err, ds.ErrConcurrentTransaction), err != nil && time.Since(begin) > length+grace:
				case err != nil:
					errs <- err
					return
				default:
					done.Add(int64(w.counts))
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	select {
	case err := <-errs:
		return figure{}, err
	default:
	}
	n := float64(done.Load())
	return figure{perSecond: n / took.Seconds(), cpu: time.Duration(float64(s.cpu()-cpu) / max(n, 1))}, nil
}
