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

// cacheMemlimit moves the bound on memory, within the one that the server was
// started with: who runs it decides what it may take.
func (c *conn) cacheMemlimit() {
	if !c.want(2, 3) {
		return
	}
	c.takeNoreply()
	const least, most = 8, 1e9
	mebibytes, ok := parseUint32(c.args[1])
	switch {
	case !ok:
		c.reply(replyError)
	case mebibytes < least:
		c.reply("MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")
	case mebibytes > most:
		c.reply("MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")
	case !c.s.cache.limit(int64(mebibytes) << 20):
		c.reply("MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")
	default:
		c.reply(replyOK)
	}
}

// refuse answers the commands of an engine that isn't here as the real server
// does where it was told to do without it.
func (c *conn) refuse() {
	sub := ""
	if len(c.args) > 1 {
		sub = string(c.args[1])
	}
	reply := replyError
	switch name := string(c.args[0]); {
	case name == "lru" && sub != "":
		c.takeNoreply()
	case name == "watch":
		c.takeNoreply()
		reply = "CLIENT_ERROR watch commands not allowed"
	case name == "lru_crawler" && len(c.args) == 3 && (sub == "crawl" || sub == "metadump"):
		reply = "CLIENT_ERROR lru crawler disabled"
	case name == "lru_crawler" && len(c.args) == 2 && sub == "enable":
		reply = "ERROR failed to start lru crawler thread"
	case name == "slabs" && len(c.args) == 4 && sub == "reassign":
		reply = "CLIENT_ERROR slab reassignment disabled"
	case name == "shutdown":
		reply = "ERROR: shutdown not enabled"
	}
	c.reply(reply)
}
