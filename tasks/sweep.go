package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"cloud.google.com/go/datastore"
	"google.golang.org/api/iterator"
)

const sweepers = 4 // outbox entities at once in one sweep

// SweepReport counts what a sweep of the outbox did.
type SweepReport struct {
	Pending   int // entities that were due
	Submitted int // of these, deleted after the queue had proved all their tasks
	Refused   int // of these, kept with an error
}

func (r *SweepReport) add(s SweepReport) {
	r.Pending += s.Pending
	r.Submitted += s.Submitted
	r.Refused += s.Refused
}

// SweepOutbox submits what writers have left in one of shards equal parts of
// the outbox: for the runner. It reads keys only, and skips fresh ones. The
// error tells that the sweep could not be made, or was cut short by ctx;
// refused tasks are in the report and in their entities.
func (c *Client) SweepOutbox(ctx context.Context, shard, shards int) (SweepReport, error) {
	var (
		mu     sync.Mutex
		report SweepReport
		wg     sync.WaitGroup
		turn   = make(chan struct{}, sweepers)
	)
	defer wg.Wait()
	for key, err := range c.stragglers(ctx, shard, shards) {
		if err != nil {
			wg.Wait()
			return report, err
		}
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return report, context.Cause(ctx)
		}
		wg.Go(func() {
			defer func() { <-turn }()
			one := c.sweepEntry(ctx, key)
			mu.Lock()
			defer mu.Unlock()
			report.add(one)
		})
	}
	wg.Wait()
	return report, nil
}

// OutboxShards tells which of shards parts of the outbox have something for the
// sweeper. It looks at no more than a thousand keys; when there are more, it
// names all shards.
func (c *Client) OutboxShards(ctx context.Context, shards int) ([]int, error) {
	const most = 1000
	n := 0
	var found []int
	last := -1
	for key, err := range c.stragglers(ctx, 0, 1) {
		if err != nil {
			return nil, err
		}
		if n++; n > most {
			found = found[:0]
			for i := range shards {
				found = append(found, i)
			}
			return found, nil
		}
		if s := shardOf(key.Name, shards); s != last {
			found, last = append(found, s), s
		}
	}
	return found, nil
}

// shardOf reads the 16 random bits at the start of a key's name.
func shardOf(name string, shards int) int {
	var bits int
	if _, err := fmt.Sscanf(name, "%04x", &bits); err != nil {
		return 0
	}
	return bits * shards >> 16
}

// shardStart is the smallest name of a shard.
func shardStart(shard, shards int) string {
	return fmt.Sprintf("%04x", (shard<<16+shards-1)/shards)
}

// ShardQuery narrows a query over random keys of a kind to one of shards parts.
func (c *Client) ShardQuery(kind string, shard, shards int) *datastore.Query {
	q := datastore.NewQuery(kind).Namespace(c.o.Namespace)
	if shard > 0 {
		q = q.FilterField("__key__", ">=", c.Key(kind, shardStart(shard, shards)))
	}
	if shard < shards-1 {
		q = q.FilterField("__key__", "<", c.Key(kind, shardStart(shard+1, shards)))
	}
	return q
}

// stragglers yields the keys of a shard that are no longer fresh.
func (c *Client) stragglers(ctx context.Context, shard, shards int) iter.Seq2[*datastore.Key, error] {
	return func(yield func(*datastore.Key, error) bool) {
		it := c.ds.Run(ctx, c.ShardQuery(OutboxKind, shard, shards).KeysOnly())
		for {
			key, err := it.Next(nil)
			if errors.Is(err, iterator.Done) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("tasks: query the outbox: %w", err))
				return
			}
			until, ok := freshUntil(key.Name)
			if ok && time.Now().Before(until) {
				continue
			}
			if !yield(key, nil) {
				return
			}
		}
	}
}

// sweepEntry settles one straggler.
func (c *Client) sweepEntry(ctx context.Context, key *datastore.Key) (r SweepReport) {
	e, err := c.loadEntry(ctx, key)
	now := time.Now()
	switch {
	case errors.Is(err, datastore.ErrNoSuchEntity):
		return r
	case err != nil:
		c.log.ErrorContext(ctx, "outbox entity cannot be read; its tasks wait", "outbox", key.Name, "error", err)
		return SweepReport{Pending: 1, Refused: 1}
	case now.Before(e.entity.NextTry):
		return r
	}
	for i := range e.messages { // their MaxAge counts from when the queue has them
		if err := e.messages[i].date(now); err != nil {
			c.log.ErrorContext(ctx, "task in the outbox cannot be dated", "outbox", key.Name, "error", err)
		}
	}
	r.Pending = 1
	deleted, err := c.submitEntry(ctx, e)
	if deleted {
		r.Submitted = 1
		return r
	}
	r.Refused = 1
	c.log.WarnContext(ctx, "tasks stay in the outbox", "outbox", key.Name, "attempts", e.entity.Attempts+1, "error", err)
	return r
}

func (c *Client) loadEntry(ctx context.Context, key *datastore.Key) (*outboxEntry, error) {
	e := &outboxEntry{key: key}
	if err := c.ds.Get(ctx, key, &e.entity); err != nil {
		return nil, err
	}
	return e, decodeJSON(e.entity.Tasks, &e.messages)
}

// OutboxEntry describes what one transaction left in the outbox, for people.
type OutboxEntry struct {
	Key       string
	CreatedAt time.Time
	Attempts  int       // submissions that were refused
	NextTry   time.Time // zero before the first refusal
	Error     string    // of the last
	Classes   []string  // of its tasks
}

// Outbox yields the outbox, at most limit entities (0 for all), in no
// particular order. Entities that are being submitted are among them.
func (c *Client) Outbox(ctx context.Context, limit int) iter.Seq2[OutboxEntry, error] {
	return func(yield func(OutboxEntry, error) bool) {
		q := datastore.NewQuery(OutboxKind).Namespace(c.o.Namespace)
		if limit > 0 {
			q = q.Limit(limit)
		}
		it := c.ds.Run(ctx, q)
		for {
			var e outboxEntity
			key, err := it.Next(&e)
			if errors.Is(err, iterator.Done) {
				return
			}
			if err != nil {
				yield(OutboxEntry{}, err)
				return
			}
			entry := OutboxEntry{Key: key.Name, CreatedAt: e.CreatedAt, Attempts: e.Attempts, NextTry: e.NextTry, Error: e.Error}
			var messages []message
			if err := decodeJSON(e.Tasks, &messages); err != nil {
				entry.Error = err.Error()
			}
			for _, m := range messages {
				entry.Classes = append(entry.Classes, m.Envelope.Class)
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}
