package memcached

// flushAll answers flush_all [delay] [noreply]. The delay is an expiration; a
// negative one is none.
func (c *conn) flushAll() {
	if !c.want(1, 3) {
		return
	}
	c.takeNoreply()
	words := 1
	if c.noreply {
		words = 2
	}
	var delay int32
	if len(c.args) != words {
		var ok bool
		if delay, ok = parseInt32(c.args[1]); !ok {
			c.reply(replyBadExptime)
			return
		}
	}
	c.s.cache.flush(delay)
	c.reply(replyOK)
}

// verbosity checks its argument and changes nothing: what we log doesn't
// depend on clients.
func (c *conn) verbosity() {
	if !c.want(2, 3) {
		return
	}
	c.takeNoreply()
	if _, ok := parseUint32(c.args[1]); !ok {
		c.reply(replyBadFormat)
		return
	}
	c.reply(replyOK)
}
