package memcached

import "strconv"

// delta answers incr and decr.
func (c *conn) delta(up bool) {
	if !c.keyed(3, 4) {
		return
	}
	by, ok := parseUint64(c.args[2])
	if !ok {
		c.reply("CLIENT_ERROR invalid numeric delta argument")
		return
	}
	switch n, result := c.s.cache.add(c.args[1], delta{down: !up, by: by}); result {
	case deltaOK, deltaGrown:
		c.reply(strconv.FormatUint(n, 10))
	case deltaNotFound:
		c.reply(replyNotFound)
	case deltaNonNumeric:
		c.reply(replyNonNumeric)
	case deltaExists: // only ma asks for a cas id
	}
}

func (c *conn) touch() {
	if !c.keyed(3, 4) {
		return
	}
	exptime, ok := parseInt32(c.args[2])
	if !ok {
		c.reply(replyBadExptime)
		return
	}
	if _, ok := c.s.cache.touch(c.args[1], c.s.cache.deadline(exptime)); ok {
		c.reply("TOUCHED")
	} else {
		c.reply(replyNotFound)
	}
}

// delete accepts, beside the key and noreply, a hold time of 0, which clients
// of old send.
func (c *conn) delete() {
	if !c.want(2, 4) {
		return
	}
	if len(c.args) > 2 {
		c.takeNoreply()
		hold := string(c.args[2]) == "0"
		valid := len(c.args) == 3 && (hold || c.noreply) || len(c.args) == 4 && hold && c.noreply
		if !valid {
			c.reply("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]")
			return
		}
	}
	switch {
	case len(c.args[1]) > maxKeyBytes:
		c.reply(replyBadFormat)
	case c.s.cache.remove(c.args[1]):
		c.reply("DELETED")
	default:
		c.reply(replyNotFound)
	}
}
