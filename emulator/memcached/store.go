package memcached

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
	marks  marks // binaryKey or none
	expire int64

	// cas is the id that modeCAS requires, and the modes that join values
	// unless it is 0.
	cas uint64
	// late lets modeCAS store over an entry with a higher id: as a stale one,
	// which keeps its deadline.
	late bool
}

// store stores v if mode allows it, and returns its cas id. The caller has
// checked its size.
func (c *cache) store(mode storeMode, v candidate) (storeResult, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.sets++
	now := c.clock.now()
	old := c.find(v.key, now, false)
	switch mode {
	case modeAdd:
		if old != nil {
			old.used = now
			c.promote(old)
			return notStored, 0
		}
	case modeReplace:
		if old == nil {
			return notStored, 0
		}
	case modeAppend, modePrepend:
		if old == nil {
			return notStored, 0
		}
		if v.cas != 0 && v.cas != old.cas {
			return exists, 0
		}
		if protocolSize(len(v.key), old.flags, len(old.value)+len(v.value)-4) > c.maxItem {
			return notStored, 0
		}
		v = joined(mode, old, v)
	case modeCAS:
		switch {
		case old == nil:
			c.count.casMisses++
			return notFound, 0
		case old.cas == v.cas:
		case v.late && 0 < v.cas && v.cas < old.cas:
			v.expire = old.expire
			v.marks |= stale | old.marks&won
		default:
			c.count.casBadval++
			return exists, 0
		}
		c.count.casHits++
	}
	it := old
	if it == nil {
		it = c.link(v.key)
	}
	c.replace(it, &v, now)
	c.evict()
	return stored, it.cas
}

// joined returns v with the old value before or after its own; what else an
// entry has is the old one's, but for its marks, which are gone.
func joined(mode storeMode, old *item, v candidate) candidate {
	head, tail := old.value, v.value
	if mode == modePrepend {
		head, tail = tail, head
	}
	value := make([]byte, 0, len(head)+len(tail)-2)
	v.value = append(append(value, head[:len(head)-2]...), tail...)
	v.flags, v.expire, v.marks = old.flags, old.expire, 0
	return v
}

// replace makes v the entry of it.
func (c *cache) replace(it *item, v *candidate, now int64) {
	c.count.totalItems++
	c.lastCAS++
	c.bytes -= footprint(it)
	it.value, it.flags, it.marks, it.cas, it.expire = v.value, v.flags, v.marks, c.lastCAS, v.expire
	it.stored, it.used = now, now
	c.bytes += footprint(it)
	c.promote(it)
}
