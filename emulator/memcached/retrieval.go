package memcached

import "strconv"

// get answers get and gets: the entry of each key that is there, in the order
// of the keys, then END.
func (c *conn) get(keys []byte, withCAS bool) error {
	if word, _ := nextWord(keys); len(word) == 0 {
		c.reply(replyError)
		return nil
	}
	return c.answerKeys(keys, withCAS, c.s.cache.get)
}

// getAndTouch answers gat and gats, which give a new expiration first.
func (c *conn) getAndTouch(args []byte, withCAS bool) error {
	word, keys := nextWord(args)
	if len(word) == 0 {
		c.reply(replyError)
		return nil
	}
	exptime, ok := parseInt32(word)
	if !ok {
		c.reply(replyBadExptime)
		return nil
	}
	deadline := c.s.cache.deadline(exptime)
	return c.answerKeys(keys, withCAS, func(key []byte) (entry, bool) {
		return c.s.cache.touch(key, deadline)
	})
}

// answerKeys looks up each key and writes what it finds. A key that is too
// long fails the whole command, before anything is looked up.
func (c *conn) answerKeys(keys []byte, withCAS bool, lookup func(key []byte) (entry, bool)) error {
	for key, rest := nextWord(keys); len(key) > 0; key, rest = nextWord(rest) {
		if len(key) > maxKeyBytes {
			c.reply(replyBadFormat)
			return nil
		}
	}
	for key, rest := nextWord(keys); len(key) > 0; key, rest = nextWord(rest) {
		e, ok := lookup(key)
		if !ok {
			continue
		}
		if err := c.writeEntry(key, e, withCAS); err != nil {
			return err
		}
	}
	c.reply("END")
	return nil
}

// writeEntry writes "VALUE key flags bytes [cas]" and the value.
func (c *conn) writeEntry(key []byte, e entry, withCAS bool) error {
	_, _ = c.out.WriteString("VALUE ")
	_, _ = c.out.Write(key)
	line := append(c.out.AvailableBuffer(), ' ')
	line = strconv.AppendUint(line, uint64(e.flags), 10)
	line = append(line, ' ')
	line = strconv.AppendInt(line, int64(len(e.value)-2), 10)
	if withCAS {
		line = append(line, ' ')
		line = strconv.AppendUint(line, e.cas, 10)
	}
	line = append(line, "\r\n"...)
	_, _ = c.out.Write(line)
	_, err := c.out.Write(e.value)
	return err
}
