package memcached

import (
	"bytes"
	"errors"
	"math"
)

// update answers set, add, replace, append, prepend and cas: a line, then a
// block of data that ends with CRLF. A malformed line has no block, so that
// what follows it is read as the next command; the block of a line that is
// refused for its size is swallowed.
func (c *conn) update(mode storeMode) error {
	words := 5
	if mode == modeCAS {
		words = 6
	}
	if !c.keyed(words, words+1) {
		return nil
	}
	v, n, ok := c.parseUpdate(mode)
	if !ok {
		c.reply(replyBadFormat)
		return nil
	}
	if protocolSize(len(v.key), v.flags, n) > c.s.opts.MaxItemBytes {
		c.reply(replyTooLarge)
		c.s.cache.refuse(v.key, true, mode == modeSet)
		return c.swallow(n + 2)
	}

	v.key = append(c.key[:0], v.key...) // reading the data overwrites the line
	data, err := c.value(n + 2)
	switch {
	case errors.Is(err, errNoBudget):
		c.reply(replyNoMemory)
		c.s.cache.refuse(v.key, false, mode == modeSet)
		return nil
	case err != nil:
		return err
	case !bytes.HasSuffix(data, []byte("\r\n")):
		c.reply(replyBadChunk)
		return nil
	}
	v.value = data
	switch result, _ := c.s.cache.store(mode, v); result {
	case stored:
		c.reply("STORED")
	case notStored:
		c.reply("NOT_STORED")
	case exists:
		c.reply("EXISTS")
	case notFound:
		c.reply(replyNotFound)
	}
	return nil
}

// parseUpdate reads "name key flags exptime bytes [cas]" and returns the
// candidate without its value, and the length of the value.
func (c *conn) parseUpdate(mode storeMode) (v candidate, n int, ok bool) {
	flags, ok1 := parseUint32(c.args[2])
	exptime, ok2 := parseInt32(c.args[3])
	length, ok3 := parseInt32(c.args[4])
	if !ok1 || !ok2 || !ok3 || length < 0 || length > math.MaxInt32-2 {
		return v, 0, false
	}
	v = candidate{key: c.args[1], flags: flags, expire: c.s.cache.deadline(exptime)}
	if mode == modeCAS {
		if v.cas, ok = parseUint64(c.args[5]); !ok {
			return v, 0, false
		}
	}
	return v, int(length), true
}
