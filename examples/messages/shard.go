package messages

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/tasks"
)

// shardTask asks for a run of one shard.
type shardTask struct {
	Shard int `json:"shard"`
}

// newShardClass declares the task that runs a shard. It coalesces: the queue
// keeps one for each shard and slot, and a delivery that finds the shard busy
// leaves one for the next slot.
func (a *App) newShardClass() tasks.Class[shardTask] {
	return tasks.NewClass("messages.shard", &tasks.ClassOptions[shardTask]{
		Queue:   a.o.Queue,
		Timeout: a.o.HandlerTimeout,
		MaxAge:  a.o.TaskAge,
		Backoff: tasks.Backoff{Min: 2 * time.Second, Max: 6 * time.Second, Doublings: 7},
		LockKey: func(p shardTask) string { return a.shardKey(p.Shard, "lock") },
		Busy:    tasks.BusyCoalesce,
		Slot:    a.o.Slot,
	})
}

// shardKey names what memcached knows about a shard. memcached has no
// namespaces of its own.
func (a *App) shardKey(shard int, what string) string {
	return fmt.Sprintf("tumble.%s.%d.%s", a.namespace, shard, what)
}

// shardWidth is how many hashes fall into each shard but the last, which takes
// the rest.
func (a *App) shardWidth() uint64 { return math.MaxUint64 / uint64(a.o.Shards) }

// shardOf maps int64 in its order onto 0 to Shards-1.
func (a *App) shardOf(expanded int64) int {
	fromLowest := uint64(expanded) - 1<<63
	return min(int(fromLowest/a.shardWidth()), a.o.Shards-1)
}

// shardRange is the inverse: the lowest and the highest hash of a shard.
func (a *App) shardRange(shard int) (lowest, highest int64) {
	from := uint64(shard) * a.shardWidth()
	lowest, highest = int64(from+1<<63), int64(from+a.shardWidth()-1+1<<63)
	if shard == a.o.Shards-1 {
		highest = math.MaxInt64
	}
	return lowest, highest
}

// wakeups are runs of shards to ask for, each with the slot that it falls into.
type wakeups map[wakeup]time.Time

type wakeup struct {
	shard int
	slot  int64 // Unix nanoseconds
}

// add asks for a run of shard once after has passed.
func (w wakeups) add(shard int, after time.Time, slot time.Duration) {
	if now := time.Now(); after.Before(now) {
		after = now
	}
	s := tasks.SlotAt(after, slot)
	w[wakeup{shard, s.UnixNano()}] = after
}

// stage enqueues the tasks of w if tx commits.
func (a *App) stage(tx *tasks.Tx, w wakeups) error {
	for at, after := range w {
		if _, err := a.shard.EnqueueTx(tx, shardTask{at.shard}, &tasks.EnqueueOptions{ETA: after}); err != nil {
			return err
		}
	}
	return nil
}

// Wake enqueues a task for each shard that has mutations in the journal.
// Committed work brings its own tasks; Wake is for when Options.Shards has
// changed under it.
func (a *App) Wake(ctx context.Context) error {
	for shard := range a.o.Shards {
		lowest, highest := a.shardRange(shard)
		q := a.journal().
			FilterField("ExpandedShard", ">=", lowest).FilterField("ExpandedShard", "<=", highest).
			Order("ExpandedShard").Limit(1).KeysOnly()
		found, err := a.ds.GetAll(ctx, q, nil)
		if err != nil {
			return fmt.Errorf("messages: look for work in shard %d: %w", shard, err)
		}
		if len(found) == 0 {
			continue
		}
		if _, err := a.shard.Enqueue(ctx, a.client, shardTask{shard}, nil); err != nil {
			return fmt.Errorf("messages: wake shard %d: %w", shard, err)
		}
	}
	return nil
}

// Cache is the part of *memcache.Client that remembers when a shard was last
// looked at.
type Cache interface {
	Get(key string) (*memcache.Item, error)
	Set(*memcache.Item) error
}

// lookedAt remembers that a round of the shard began at t, and left nothing
// undone that was there.
func (a *App) lookedAt(ctx context.Context, shard int, t time.Time) {
	if a.o.Cache == nil {
		return
	}
	item := &memcache.Item{
		Key:        a.shardKey(shard, "last"),
		Value:      strconv.AppendInt(nil, t.UnixNano(), 10),
		Expiration: 3600, // seconds: longer than any task stays interesting
	}
	if err := a.o.Cache.Set(item); err != nil {
		a.log.DebugContext(ctx, "cannot remember the last round", "shard", shard, "err", err)
	}
}

// upToDate reports whether a round has begun late enough to see all that the
// task of the given slot stands for.
//
// That is what was committed up to 3/4 of a slot before it (see tasks.SlotAt).
// One more quarter is for clocks that differ.
func (a *App) upToDate(ctx context.Context, shard int, slot time.Time) bool {
	if a.o.Cache == nil || slot.IsZero() {
		return false
	}
	item, err := a.o.Cache.Get(a.shardKey(shard, "last"))
	if err != nil {
		if !errors.Is(err, memcache.ErrCacheMiss) {
			a.log.DebugContext(ctx, "cannot recall the last round", "shard", shard, "err", err)
		}
		return false
	}
	last, err := strconv.ParseInt(string(item.Value), 10, 64)
	return err == nil && !time.Unix(0, last).Before(slot.Add(-a.o.Slot/2))
}
