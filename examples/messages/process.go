package messages

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"cloud.google.com/go/datastore"
	"golang.org/x/sync/errgroup"

	"github.com/latchwork/latchwork/tasks"
)

// runShard handles a shard's task, inside the shard's lock. It goes round
// until a round finds nothing: what is committed later brings a task of its
// own, so there is nothing to wait for.
func (a *App) runShard(ctx context.Context, p shardTask) error {
	if p.Shard < 0 || p.Shard >= a.o.Shards {
		a.log.InfoContext(ctx, "dead shard: there are fewer now", "shard", p.Shard, "shards", a.o.Shards)
		return a.Wake(ctx) // its work is in others now
	}
	delivery, _ := tasks.DeliveryFrom(ctx)
	if a.upToDate(ctx, p.Shard, delivery.ETA) {
		a.stats.earlyExits.Add(1)
		return nil
	}
	a.stats.runs.Add(1)
	for start := time.Now(); ; {
		began := time.Now()
		worked, err := a.round(ctx, p.Shard)
		if err != nil {
			return err
		}
		a.lookedAt(ctx, p.Shard, began)
		if !worked || time.Since(start) >= a.o.ProcessLoop {
			return nil
		}
		select {
		case <-time.After(a.o.DustSettle): // commits come in bursts
		case <-ctx.Done():
			return nil // what was found is done
		}
	}
}

// round runs the due mutations of every root in the shard, several roots at a
// time, and reports whether there were any.
func (a *App) round(ctx context.Context, shard int) (worked bool, err error) {
	a.stats.rounds.Add(1)
	var pool errgroup.Group
	var ran atomic.Int64
	pool.SetLimit(a.o.Parallel)
	for root, lookErr := range a.dueRoots(ctx, shard) {
		if err = lookErr; err != nil {
			break
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the lock is lost, or time is up
			break
		}
		pool.Go(func() error {
			n, err := a.processRoot(ctx, root)
			ran.Add(int64(n))
			if err != nil {
				return fmt.Errorf("messages: root %v: %w", root, err)
			}
			return nil
		})
	}
	err = errors.Join(err, pool.Wait())
	return ran.Load() > 0, err
}

// processRoot runs the due mutations of root, one batch and transaction after
// the other, and returns how many it finished.
func (a *App) processRoot(ctx context.Context, root *datastore.Key) (finished int, err error) {
	for {
		keys, err := a.dueMutations(ctx, root)
		if err != nil {
			return finished, err
		}
		batch, err := a.load(ctx, keys)
		if err != nil || len(batch) == 0 {
			return finished, err
		}
		done, err := a.apply(ctx, root, batch)
		if err != nil {
			return finished, err
		}
		finished += done.mutations

		// Entries under another root are deleted once their effect is safe. A
		// crash in between repeats the mutation, which is why it is idempotent.
		if err := a.ds.DeleteMulti(ctx, done.elsewhere); err != nil {
			return finished, fmt.Errorf("delete finished mutations: %w", err)
		}
		if len(keys) < a.o.Batch {
			return finished, nil
		}
	}
}

// applied is what became of a batch.
type applied struct {
	mutations int              // finished and committed
	elsewhere []*datastore.Key // entries of these under other roots, to be deleted
	failed    []error          // mutations that were skipped, and why
}

// apply runs a batch of mutations of root in one transaction. One that fails is
// skipped and postponed, the others commit.
func (a *App) apply(ctx context.Context, root *datastore.Key, batch []pending) (done applied, err error) {
	err = a.transaction(ctx, root, func(r *Root) error {
		done = applied{}
		queue := slices.Clip(batch)
		for i := 0; i < len(queue) && i < a.o.Batch; i++ {
			next := queue[i]
			step := r.fork()
			a.stats.mutations.Add(1)
			if err := run(ctx, next.mutation, step); err != nil {
				done.failed = append(done.failed, fmt.Errorf("mutation %v: %w", next.key, err))
				if err := r.postpone(next.key); err != nil {
					return err
				}
				continue
			}
			if next.key.Parent.Equal(root) {
				step.Delete(next.key)
			} else {
				done.elsewhere = append(done.elsewhere, next.key)
			}
			done.mutations++
			r.merge(step)
			queue = append(queue, step.emitted...) // tail calls: mutations of this same root
		}
		return nil
	})
	if err == nil && len(done.failed) > 0 {
		a.stats.failures.Add(int64(len(done.failed)))
		a.log.WarnContext(ctx, "mutations failed and are postponed", "root", root.String(), "err", errors.Join(done.failed...))
	}
	return done, err
}

// run runs a mutation. If it panics it has failed; the process goes on.
func run(ctx context.Context, m Mutation, r *Root) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return m.Run(ctx, r)
}

// transaction runs f on root and commits what f left there.
func (a *App) transaction(ctx context.Context, root *datastore.Key, f func(*Root) error) error {
	counted := &tasks.TransactOptions{OnConflict: func(error) { a.stats.conflicts.Add(1) }}
	err := a.client.Transact(ctx, counted, func(tx *tasks.Tx) error {
		r := a.newRoot(root, tx)
		if err := f(r); err != nil {
			return err
		}
		return r.flush()
	})
	if err == nil {
		a.stats.commits.Add(1)
	}
	return err
}
