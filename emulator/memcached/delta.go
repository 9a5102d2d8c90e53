package memcached

import "strconv"

// chunkBytes is the size beyond which the real server keeps an item in pieces
// and never takes it for a number.
const chunkBytes = 512 << 10

// delta is a change of a number: up, wrapping at 64 bits, or down, stopping at 0.
type delta struct {
	down bool
	by   uint64
	cas  uint64 // the id that the entry must have; 0 is any
}

// deltaResult is the outcome of a delta.
type deltaResult int

const (
	deltaOK deltaResult = iota
	deltaGrown
	deltaNotFound
	deltaNonNumeric
	deltaExists
)

// add changes the decimal number that key holds.
func (c *cache) add(key []byte, d delta) (uint64, deltaResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	it := c.find(key, now, false)
	if it == nil {
		c.countDeltaMiss(d)
		return 0, deltaNotFound
	}
	return c.change(it, d, now)
}

// change applies d to the number that it holds. A result shorter than the old
// value is padded with spaces to its length. A longer one (deltaGrown) is a new
// item to the real server: its marks are gone.
func (c *cache) change(it *item, d delta, now int64) (uint64, deltaResult) {
	if len(it.value) <= 2 || protocolSize(len(it.key), it.flags, len(it.value)-2) > chunkBytes {
		return 0, deltaNonNumeric
	}
	if d.cas != 0 && d.cas != it.cas {
		return 0, deltaExists
	}
	n, ok := parseUint64(it.value)
	if !ok {
		return 0, deltaNonNumeric
	}
	switch {
	case !d.down:
		c.count.incrHits++
		n += d.by
	case d.by > n:
		c.count.decrHits++
		n = 0
	default:
		c.count.decrHits++
		n -= d.by
	}
	digits := strconv.AppendUint(nil, n, 10)
	if len(digits)+2 > len(it.value) {
		c.replace(it, &candidate{value: append(digits, "\r\n"...), flags: it.flags, expire: it.expire}, now)
		c.evict()
		return n, deltaGrown
	}
	value := make([]byte, len(it.value))
	copy(value, digits)
	for i := len(digits); i < len(value)-2; i++ {
		value[i] = ' '
	}
	copy(value[len(value)-2:], "\r\n")
	c.lastCAS++
	it.value, it.cas, it.used = value, c.lastCAS, now
	c.promote(it)
	return n, deltaOK
}

func (c *cache) countDeltaMiss(d delta) {
	if d.down {
		c.count.decrMisses++
	} else {
		c.count.incrMisses++
	}
}
