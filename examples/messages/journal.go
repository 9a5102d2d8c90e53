package messages

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"cloud.google.com/go/datastore"
)

func (a *App) journal() *datastore.Query {
	return datastore.NewQuery(journalKind).Namespace(a.namespace)
}

// dueRoots yields the roots in the shard that seem to have due mutations, each
// once. Entries of one root stand side by side in the index: a page that ends
// inside a root is left for the next root.
func (a *App) dueRoots(ctx context.Context, shard int) iter.Seq2[*datastore.Key, error] {
	return func(yield func(*datastore.Key, error) bool) {
		lowest, highest := a.shardRange(shard)
		from := a.journal().FilterField("ExpandedShard", ">=", lowest)
		for {
			var page []journalEntry
			q := from.FilterField("ExpandedShard", "<=", highest).Order("ExpandedShard").Limit(a.o.Batch)
			if _, err := a.ds.GetAll(ctx, q, &page); err != nil {
				yield(nil, fmt.Errorf("messages: look for work in shard %d: %w", shard, err))
				return
			}
			now, full := time.Now(), len(page) == a.o.Batch
			var yielded *datastore.Key
			for i, e := range page {
				mayHaveMore := full && i == len(page)-1 // the rest of its entries is not on this page
				if e.TargetRoot.Equal(yielded) || e.ProcessAfter.After(now) && !mayHaveMore {
					continue
				}
				yielded = e.TargetRoot
				if !yield(e.TargetRoot, nil) {
					return
				}
			}
			if !full {
				return
			}
			from = a.journal().FilterField("ExpandedShard", ">", page[len(page)-1].ExpandedShard)
		}
	}
}

// dueMutations returns the oldest entries that wait for root, at most a batch.
func (a *App) dueMutations(ctx context.Context, root *datastore.Key) ([]*datastore.Key, error) {
	q := a.journal().
		FilterField("TargetRoot", "=", root).
		FilterField("ProcessAfter", "<=", time.Now()).
		Order("ProcessAfter").Limit(a.o.Batch).KeysOnly()
	keys, err := a.ds.GetAll(ctx, q, nil)
	if err != nil {
		return nil, fmt.Errorf("messages: look for mutations of %v: %w", root, err)
	}
	return keys, nil
}

// CheckIndex makes the query that needs the composite index of index.yaml, for a
// program that would rather not start than find out later.
func (a *App) CheckIndex(ctx context.Context) error {
	_, err := a.dueMutations(ctx, userKey(a.namespace, "nobody"))
	return err
}

// load reads and decodes entries. One that is gone is done; one that cannot be
// decoded is left for a worker that can.
func (a *App) load(ctx context.Context, keys []*datastore.Key) ([]pending, error) {
	entries := make([]*journalEntry, len(keys))
	for i := range entries {
		entries[i] = new(journalEntry)
	}
	err := a.ds.GetMulti(ctx, keys, entries)
	each, partly := errors.AsType[datastore.MultiError](err)
	if err != nil && !partly {
		return nil, fmt.Errorf("messages: read mutations: %w", err)
	}
	batch := make([]pending, 0, len(keys))
	for i, key := range keys {
		if partly && each[i] != nil {
			if errors.Is(each[i], datastore.ErrNoSuchEntity) {
				continue
			}
			return nil, fmt.Errorf("messages: read mutation %v: %w", key, each[i])
		}
		m, err := a.types.decode(entries[i])
		if err != nil {
			a.log.WarnContext(ctx, "a mutation is left in the journal", "key", key.String(), "err", err)
			continue
		}
		batch = append(batch, pending{key, m})
	}
	return batch, nil
}
