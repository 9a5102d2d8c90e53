package memcached

import (
	"sync"

	"github.com/latchwork/latchwork/emulator/internal/chaos"
)

// A cache is the store behind all connections: a map and a list in order of
// last use, bounded in bytes. One lock orders everything; it is held for well
// under a microsecond and never across I/O.
type cache struct {
	clock   ticker
	chaos   *chaos.Chaos
	ceiling int64 // of maxBytes
	maxItem int   // by protocolSize

	mu       sync.Mutex
	maxBytes int64
	items    map[string]*item
	recent   item // ring head: next is the most recently used, prev the least
	bytes    int64
	lastCAS  uint64
	flushed  int64 // entries stored up to this second die when it comes; 0 is none
	count    counters
}

// counters are the cache's part of Stats.
type counters struct {
	getHits, getMisses, getExpired, getFlushed uint64
	sets, totalItems                           uint64
	deleteHits, deleteMisses                   uint64
	incrHits, incrMisses, decrHits, decrMisses uint64
	casHits, casMisses, casBadval              uint64
	metaDebugs                                 uint64
	touchHits, touchMisses                     uint64
	flushes                                    uint64
	tooLarge, noMemory                         uint64
	evictions, evictedUnfetched                uint64
	expiredUnfetched                           uint64
}

func newCache(o *Options) *cache {
	c := &cache{clock: newTicker(o.Clock), chaos: o.Chaos, ceiling: o.MaxBytes, maxBytes: o.MaxBytes, maxItem: o.MaxItemBytes}
	c.drop()
	return c
}

// get returns the live entry of key and marks it as used.
func (c *cache) get(key []byte) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	it := c.find(key, now, true)
	if it == nil {
		c.count.getMisses++
		return entry{}, false
	}
	c.count.getHits++
	c.hit(it, now)
	return it.entry(), true
}

// touch gives the entry of key a new deadline.
func (c *cache) touch(key []byte, expire int64) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	it := c.find(key, now, false)
	if it == nil {
		c.count.touchMisses++
		return entry{}, false
	}
	c.count.touchHits++
	it.expire = expire
	c.hit(it, now)
	return it.entry(), true
}

// remove deletes key, whoever stored it.
func (c *cache) remove(key []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.find(key, c.clock.now(), false)
	if it == nil {
		c.count.deleteMisses++
		return false
	}
	c.count.deleteHits++
	c.unlink(it)
	return true
}

// refuse counts a value that was not even read because it is too large
// (tooLarge) or finds no memory. discard deletes what it would have replaced,
// so that nobody reads a value older than the last one sent.
func (c *cache) refuse(key []byte, tooLarge, discard bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tooLarge {
		c.count.tooLarge++
	} else {
		c.count.noMemory++
	}
	if !discard {
		return
	}
	if it := c.find(key, c.clock.now(), false); it != nil {
		c.unlink(it)
	}
}

// flush removes every entry: at once, or those stored by then when the delay
// (an expiration of the protocol) is over. A later call replaces an earlier
// one that is still pending; an absolute time before the server's start only
// cancels it.
func (c *cache) flush(delay int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.flushes++
	now := c.clock.now()
	live := now
	if delay > 0 {
		live = c.clock.deadline(now, delay)
	}
	c.flushed = 0
	horizon := live - 1
	if horizon <= now {
		c.lastCAS++ // as the real server does
	}
	switch {
	case live == c.clock.longAgo():
	case horizon < now:
		c.drop()
	default:
		c.flushed = horizon
	}
}

// limit bounds the memory of items anew, or refuses to: beyond what Options
// grants, or where the largest item would push out all others.
func (c *cache) limit(bytes int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bytes > c.ceiling || int64(c.maxItem) > bytes/2 {
		return false
	}
	c.maxBytes = bytes
	c.evict()
	return true
}

// deadline turns an expiration of the protocol into the second from which on
// the entry is gone; 0 means never.
func (c *cache) deadline(exptime int32) int64 {
	if exptime == 0 {
		return 0
	}
	return c.clock.deadline(c.clock.now(), exptime)
}

// find returns the live item of key, or nil. A dead one that it meets is
// removed. fetch says that the caller counts it as a get.
func (c *cache) find(key []byte, now int64, fetch bool) *item {
	it := c.items[string(key)]
	if it == nil {
		return nil
	}
	switch {
	case c.flushed != 0 && c.flushed <= now && it.stored <= c.flushed:
		if fetch {
			c.count.getFlushed++
		}
	case it.expire != 0 && it.expire <= now:
		if fetch {
			c.count.getExpired++
		}
		if !it.marks.has(fetched) {
			c.count.expiredUnfetched++
		}
	default:
		if _, struck := c.chaos.StrikesNext(chaos.Evict, it.key); !struck {
			return it
		}
		c.countEviction(it)
	}
	c.unlink(it)
	return nil
}

// hit notes that it has been read. As with the real server, the first time
// doesn't count as a use that mg and me tell the age of.
func (c *cache) hit(it *item, now int64) {
	if it.marks.has(fetched) {
		it.used = now
	}
	it.marks |= fetched
	c.promote(it)
}

// promote makes it the most recently used item.
func (c *cache) promote(it *item) {
	if c.recent.next == it {
		return
	}
	it.prev.next, it.next.prev = it.next, it.prev
	c.pushFront(it)
}

// link adds an item of key that has nothing else yet.
func (c *cache) link(key []byte) *item {
	it := &item{key: string(key)}
	c.items[it.key] = it
	c.bytes += footprint(it)
	c.pushFront(it)
	return it
}

func (c *cache) pushFront(it *item) {
	it.prev, it.next = &c.recent, c.recent.next
	it.prev.next, it.next.prev = it, it
}

func (c *cache) unlink(it *item) {
	delete(c.items, it.key)
	c.bytes -= footprint(it)
	it.prev.next, it.next.prev = it.next, it.prev
	it.prev, it.next = nil, nil
}

// evict frees the least recently used items until the rest fits. It never
// reaches the newest one: an item takes at most about half of maxBytes.
func (c *cache) evict() {
	for c.bytes > c.maxBytes && c.recent.prev != c.recent.next {
		it := c.recent.prev
		c.countEviction(it)
		c.unlink(it)
	}
}

func (c *cache) countEviction(it *item) {
	c.count.evictions++
	if !it.marks.has(fetched) {
		c.count.evictedUnfetched++
	}
}

// drop forgets every item, and the memory of the map with them.
func (c *cache) drop() {
	c.items = make(map[string]*item)
	c.recent.prev, c.recent.next = &c.recent, &c.recent
	c.bytes = 0
}
