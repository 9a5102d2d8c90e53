package messages

import (
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"pgregory.net/rapid"

	"github.com/latchwork/latchwork/tasks"
)

// bare returns an App of which only the arithmetic works.
func bare(o Options) *App {
	return &App{o: o, types: messageTypes(), log: slog.New(slog.DiscardHandler)}
}

func TestShardRangesCoverEveryHashOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := bare(Options{Shards: rapid.IntRange(1, 1024).Draw(t, "shards")})
		next := int64(math.MinInt64)
		for shard := range a.o.Shards {
			lowest, highest := a.shardRange(shard)
			if lowest != next || highest < lowest {
				t.Fatalf("shard %d of %d is %d to %d; it must begin at %d", shard, a.o.Shards, lowest, highest, next)
			}
			next = highest + 1 // wraps behind the last
		}
		if next != math.MinInt64 {
			t.Fatalf("the last of %d shards ends before %d", a.o.Shards, next)
		}
		hash := rapid.Int64().Draw(t, "hash")
		shard := a.shardOf(hash)
		if lowest, highest := a.shardRange(shard); hash < lowest || hash > highest {
			t.Fatalf("%d is in shard %d of %d, which is %d to %d", hash, shard, a.o.Shards, lowest, highest)
		}
	})
}

func TestShardOfTheEnds(t *testing.T) {
	for _, shards := range []int{1, 2, 3, 32, 1024} {
		a := bare(Options{Shards: shards})
		if got := a.shardOf(math.MinInt64); got != 0 {
			t.Errorf("%d shards: the lowest hash is in shard %d", shards, got)
		}
		if got := a.shardOf(math.MaxInt64); got != shards-1 {
			t.Errorf("%d shards: the highest hash is in shard %d", shards, got)
		}
	}
}

// (i) Two namespaces never share a key, digits or not.
func TestShardKeysOfNamespacesDiffer(t *testing.T) {
	seen := make(map[string]string)
	for _, namespace := range []string{"", "ns", "ns1", "ns2", "ns1.1", "1", "1.1"} {
		for shard := range 30 {
			a := bare(Options{})
			a.namespace = namespace
			key := a.shardKey(shard, "lock")
			if other, taken := seen[key]; taken {
				t.Errorf("%q is a key of namespace %q and of %q", key, namespace, other)
			}
			seen[key] = namespace
		}
	}
}

func TestWakeupsFallIntoSlots(t *testing.T) {
	const slot = 4 * time.Second
	now := time.Now()
	w := make(wakeups)
	for range 3 {
		w.add(7, now.Add(-time.Hour), slot) // due: the slot of now
		w.add(8, time.Time{}, slot)
	}
	w.add(7, now.Add(time.Minute), slot)
	if len(w) != 3 {
		t.Errorf("%d tasks; want one for each of two shards now and one for later: %v", len(w), w)
	}
	for at, after := range w {
		if got := tasks.SlotAt(after, slot); got.UnixNano() != at.slot {
			t.Errorf("shard %d: enqueued for %v, which falls into %v, not %v", at.shard, after, got, time.Unix(0, at.slot))
		}
	}
}

// cache is a memcached of one entry that can be down.
type cache struct {
	item *memcache.Item
	err  error
}

func (c *cache) Set(item *memcache.Item) error { c.item = item; return c.err }
func (c *cache) Get(key string) (*memcache.Item, error) {
	if c.err != nil || c.item == nil || c.item.Key != key {
		return nil, errors.Join(c.err, memcache.ErrCacheMiss)
	}
	return c.item, nil
}

func TestUpToDate(t *testing.T) {
	const slot = 4 * time.Second
	at := time.Unix(1_000_000, 0)
	for name, test := range map[string]struct {
		began time.Time // of the last round
		task  time.Time
		want  bool
	}{
		"a duplicate of the task that just ran": {at, at, true},
		"a round half a slot before":            {at.Add(-slot / 2), at, true},
		"a round too early for the last commit": {at.Add(-slot/2 - 1), at, false},
		"the next slot's task":                  {at, at.Add(slot), false},
		"no task":                               {at, time.Time{}, false},
	} {
		a := bare(Options{Slot: slot, Cache: new(cache)})
		a.lookedAt(t.Context(), 3, test.began)
		if got := a.upToDate(t.Context(), 3, test.task); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
		if a.upToDate(t.Context(), 4, test.task) {
			t.Errorf("%s: another shard is up to date", name)
		}
	}
	for name, c := range map[string]Cache{
		"no cache": nil,
		"empty":    new(cache),
		"down":     &cache{err: errors.New("connection refused")},
		"garbage":  &cache{item: &memcache.Item{Key: "tumble..3.last", Value: []byte("yesterday")}},
	} {
		a := bare(Options{Slot: slot, Cache: c})
		if a.upToDate(t.Context(), 3, at) {
			t.Errorf("%s: up to date", name)
		}
		a.lookedAt(t.Context(), 3, at) // must not fail
	}
}
