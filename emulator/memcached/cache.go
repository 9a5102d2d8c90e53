package memcached

import (
	"strconv"
	"sync"

	"github.com/latchwork/latchwork/emulator/internal/chaos"
)

// A cache is the store behind all connections: a map and a list in order of
// last use, bounded in bytes. One lock orders everything; it is held for well
// under a microsecond and never across I/O.
type cache struct {
	clock    ticker
	chaos    *chaos.Chaos
	maxBytes int64
	maxItem  int // by protocolSize

	mu      sync.Mutex
	items   map[string]*item
	recent  item // ring head: next is the most recently used, prev the least
	bytes   int64
	lastCAS uint64
	flushed int64 // entries stored up to this second die when it comes; 0 is none
	count   counters
}

// counters are the cache's part of Stats.
type counters struct {
	getHits, getMisses, getExpired, getFlushed uint64
	sets, totalItems                           uint64
	deleteHits, deleteMisses                   uint64
	incrHits, incrMisses, decrHits, decrMisses uint64
	casHits, casMisses, casBadval              uint64
	touchHits, touchMisses                     uint64
	flushes                                    uint64
	tooLarge, noMemory                         uint64
	evictions, evictedUnfetched                uint64
	expiredUnfetched                           uint64
}

func newCache(o *Options) *cache {
	c := &cache{clock: newTicker(o.Clock), chaos: o.Chaos, maxBytes: o.MaxBytes, maxItem: o.MaxItemBytes}
	c.drop()
	return c
}

// get returns the live entry of key and marks it as used.
func (c *cache) get(key []byte) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.find(key, c.clock.now(), true)
	if it == nil {
		c.count.getMisses++
		return entry{}, false
	}
	c.count.getHits++
	c.use(it)
	return it.entry(), true
}

// touch gives the entry of key a new deadline.
func (c *cache) touch(key []byte, expire int64) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.find(key, c.clock.now(), false)
	if it == nil {
		c.count.touchMisses++
		return entry{}, false
	}
	c.count.touchHits++
	it.expire = expire
	c.use(it)
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

// storeMode is the condition on which a value is stored.
type storeMode int

const (
	modeSet storeMode = iota
	modeAdd
	modeReplace
	modeAppend
	modePrepend
	modeCAS
)

// storeResult is the outcome of store.
type storeResult int

const (
	stored storeResult = iota
	notStored
	exists
	notFound
)

// candidate is a value on its way into the cache.
type candidate struct {
	key    []byte // copied if it is stored
	value  []byte // ends with CRLF; the cache's own from here on
	flags  uint32
	expire int64
	cas    uint64 // the id that modeCAS requires
}

// store stores v if mode allows it. The caller has checked its size.
func (c *cache) store(mode storeMode, v candidate) storeResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.sets++
	now := c.clock.now()
	old := c.find(v.key, now, false)
	switch mode {
	case modeAdd:
		if old != nil {
			c.use(old)
			return notStored
		}
	case modeReplace:
		if old == nil {
			return notStored
		}
	case modeAppend, modePrepend:
		if old == nil || protocolSize(len(v.key), old.flags, len(old.value)+len(v.value)-4) > c.maxItem {
			return notStored
		}
		head, tail := old.value, v.value
		if mode == modePrepend {
			head, tail = tail, head
		}
		joined := make([]byte, 0, len(head)+len(tail)-2)
		v.value = append(append(joined, head[:len(head)-2]...), tail...)
		v.flags, v.expire = old.flags, old.expire
	case modeCAS:
		if old == nil {
			c.count.casMisses++
			return notFound
		}
		if old.cas != v.cas {
			c.count.casBadval++
			return exists
		}
		c.count.casHits++
	}
	it := old
	if it == nil {
		it = &item{key: string(v.key)}
		c.link(it)
	}
	c.count.totalItems++
	c.lastCAS++
	c.bytes -= footprint(it)
	it.value, it.flags, it.cas, it.expire, it.stored = v.value, v.flags, c.lastCAS, v.expire, now
	c.bytes += footprint(it)
	c.use(it)
	it.used = false
	c.evict()
	return stored
}

// refuse counts a value that was not even read because it is too large
// (tooLarge) or finds no memory; what a set would have replaced is deleted, so
// that nobody reads a value older than the last one sent.
func (c *cache) refuse(mode storeMode, key []byte, tooLarge bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tooLarge {
		c.count.tooLarge++
	} else {
		c.count.noMemory++
	}
	if mode != modeSet {
		return
	}
	if it := c.find(key, c.clock.now(), false); it != nil {
		c.unlink(it)
	}
}

// deltaResult is the outcome of add.
type deltaResult int

const (
	deltaOK deltaResult = iota
	deltaNotFound
	deltaNonNumeric
)

// add changes the decimal number that key holds: up, wrapping at 64 bits, or
// down, stopping at 0. A result shorter than the old value is padded with
// spaces to its length, as the real server does.
func (c *cache) add(key []byte, up bool, delta uint64) (uint64, deltaResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.find(key, c.clock.now(), false)
	hits, misses := &c.count.decrHits, &c.count.decrMisses
	if up {
		hits, misses = &c.count.incrHits, &c.count.incrMisses
	}
	if it == nil {
		*misses++
		return 0, deltaNotFound
	}
	// The real server keeps values of over half the item limit in pieces and
	// never takes them for numbers.
	if len(it.value) <= 2 || len(it.value) > c.maxItem/2 {
		return 0, deltaNonNumeric
	}
	n, ok := parseUint64(it.value)
	if !ok {
		return 0, deltaNonNumeric
	}
	*hits++
	switch {
	case up:
		n += delta
	case delta > n:
		n = 0
	default:
		n -= delta
	}
	digits := strconv.AppendUint(nil, n, 10)
	value := make([]byte, 0, max(len(digits), len(it.value)-2)+2)
	value = append(value, digits...)
	for len(value) < cap(value)-2 {
		value = append(value, ' ')
	}
	c.bytes -= footprint(it)
	it.value = append(value, "\r\n"...)
	c.bytes += footprint(it)
	c.lastCAS++
	it.cas = c.lastCAS
	c.use(it)
	c.evict()
	return n, deltaOK
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
		live = c.clock.deadline(delay)
	}
	c.flushed = 0
	switch horizon := live - 1; {
	case live == longAgo:
	case horizon < now:
		c.lastCAS++ // as the real server does
		c.drop()
	default:
		c.flushed = horizon
	}
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
		if !it.used {
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

// use makes it the most recently used item.
func (c *cache) use(it *item) {
	it.used = true
	if c.recent.next == it {
		return
	}
	it.prev.next, it.next.prev = it.next, it.prev
	c.pushFront(it)
}

func (c *cache) link(it *item) {
	c.items[it.key] = it
	c.bytes += footprint(it)
	c.pushFront(it)
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
	if !it.used {
		c.count.evictedUnfetched++
	}
}

// drop forgets every item, and the memory of the map with them.
func (c *cache) drop() {
	c.items = make(map[string]*item)
	c.recent.prev, c.recent.next = &c.recent, &c.recent
	c.bytes = 0
}
