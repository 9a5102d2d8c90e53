package memcached

import (
	"encoding/base64"
	"math"
	"strconv"
)

// metaDebug answers me.
func (c *conn) metaDebug() error {
	if len(c.args) < 2 || len(c.args[1]) > maxKeyBytes {
		c.reply(replyBadFormat)
		return nil
	}
	key := c.args[1]
	if len(c.args) > 2 && string(c.args[2]) == "b" {
		if key = decodeKey(key); len(key) == 0 {
			c.reply(replyBadFormat)
			return nil
		}
	}
	return c.answer(metaAnswer{line: c.s.cache.metaDebug(key, c.scratch[:0])})
}

// metaDebug describes the entry of key, in line.
func (c *cache) metaDebug(key, line []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.metaDebugs++
	now := c.clock.now()
	it := c.find(key, now, true)
	if it == nil {
		return append(line, "EN"...)
	}
	line = append(line, "ME "...)
	if it.marks.has(binaryKey) {
		line = base64.StdEncoding.AppendEncode(line, key)
	} else {
		line = append(line, key...)
	}
	expired := int64(-1)
	if it.expire != 0 {
		expired = now - it.expire
	}
	fetch := "no"
	if it.marks.has(fetched) {
		fetch = "yes"
	}
	size := protocolSize(len(it.key), it.flags, len(it.value)-2)
	line = strconv.AppendInt(append(line, " exp="...), int64(int32(expired&math.MaxUint32)), 10)
	line = strconv.AppendInt(append(line, " la="...), now-it.used, 10)
	line = strconv.AppendUint(append(line, " cas="...), it.cas, 10)
	line = append(append(line, " fetch="...), fetch...)
	line = strconv.AppendInt(append(line, " cls="...), int64(slabClass(size, c.maxItem)), 10)
	return strconv.AppendInt(append(line, " size="...), int64(size), 10)
}

// slabClass is the class in which the real server would keep an item of size:
// the first is for 96 bytes, each further one for a quarter more in steps of 8,
// the last for pieces of larger ones.
func slabClass(size, maxItem int) int {
	largest := float64(min(chunkBytes, maxItem))
	class := 1
	for chunk := 96; float64(chunk) < largest/1.25; class++ {
		chunk = (chunk + 7) / 8 * 8
		if size <= chunk {
			return class
		}
		chunk = int(float64(chunk) * 1.25)
	}
	return class
}
