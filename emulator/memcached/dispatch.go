package memcached

import "bytes"

// Answers that more than one command gives, to the letter of the real server.
const (
	replyError       = "ERROR"
	replyBadFormat   = "CLIENT_ERROR bad command line format"
	replyBadExptime  = "CLIENT_ERROR invalid exptime argument"
	replyBadChunk    = "CLIENT_ERROR bad data chunk"
	replyNonNumeric  = "CLIENT_ERROR cannot increment or decrement non-numeric value"
	replyTooLarge    = "SERVER_ERROR object too large for cache"
	replyNoMemory    = "SERVER_ERROR out of memory storing object"
	replyNotFound    = "NOT_FOUND"
	replyOK          = "OK"
	wordNoreply      = "noreply"
	httpVersionStart = "HTTP/"
)

// execute runs the command of one line and whatever block of data belongs to
// it. An error ends the connection.
func (c *conn) execute(line []byte) error {
	c.noreply = false
	name, rest := nextWord(line)
	// Gets take any number of words and are the most frequent.
	switch string(name) {
	case "get", "bget":
		return c.get(rest, false)
	case "gets":
		return c.get(rest, true)
	case "gat":
		return c.getAndTouch(rest, false)
	case "gats":
		return c.getAndTouch(rest, true)
	}

	c.split(line)
	switch string(name) {
	case "set":
		return c.update(modeSet)
	case "add":
		return c.update(modeAdd)
	case "replace":
		return c.update(modeReplace)
	case "append":
		return c.update(modeAppend)
	case "prepend":
		return c.update(modePrepend)
	case "cas":
		return c.update(modeCAS)
	case "mg":
		return c.metaGet()
	case "ms":
		return c.metaSet()
	case "md":
		return c.metaDelete()
	case "ma":
		return c.metaDelta()
	case "me":
		return c.metaDebug()
	case "mn":
		c.reply("MN")
	case "incr":
		c.delta(true)
	case "decr":
		c.delta(false)
	case "touch":
		c.touch()
	case "delete":
		c.delete()
	case "flush_all":
		c.flushAll()
	case "stats":
		c.stats()
	case "version":
		c.reply("VERSION " + Version)
	case "verbosity":
		c.verbosity()
	case "cache_memlimit":
		c.cacheMemlimit()
	case "watch", "lru", "lru_crawler", "slabs", "shutdown":
		c.refuse()
	case "quit":
		return errQuit
	default:
		if isHTTP(line) {
			return errDrop
		}
		c.reply(replyError)
	}
	return nil
}

// isHTTP reports whether a line that is no command of ours is the start of an
// HTTP request. Such connections are dropped, so that a web page can't have a
// browser smuggle commands in the body of a request. The real server lets some
// methods through, by their first letter; no browser sends them.
func isHTTP(line []byte) bool {
	line = bytes.TrimRight(line, " ")
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	return bytes.HasPrefix(last, []byte(httpVersionStart))
}

// nextWord returns the first word of line and what follows it. Only spaces
// separate words. The word is empty where there is none.
func nextWord(line []byte) (word, rest []byte) {
	word, rest, _ = bytes.Cut(bytes.TrimLeft(line, " "), []byte{' '})
	return word, rest
}

// split takes line apart into c.args. Words beyond the limit are left out; no
// command that is split takes so many.
func (c *conn) split(line []byte) {
	c.args = c.words[:0]
	for len(c.args) < maxTokens {
		var word []byte
		if word, line = nextWord(line); len(word) == 0 {
			return
		}
		c.args = append(c.args, word)
	}
}

// want checks the number of words, the command's name included. Otherwise it
// answers ERROR, even to a command that ends with noreply, as the real server
// does: what the last word of a malformed line means is anyone's guess.
func (c *conn) want(least, most int) bool {
	if len(c.args) >= least && len(c.args) <= most {
		return true
	}
	c.reply(replyError)
	return false
}

// takeNoreply heeds a noreply in the place of the last word.
func (c *conn) takeNoreply() {
	c.noreply = string(c.args[len(c.args)-1]) == wordNoreply
}

// keyed is the beginning that commands with one key share: the number of
// words, noreply, the length of the key.
func (c *conn) keyed(least, most int) bool {
	if !c.want(least, most) {
		return false
	}
	c.takeNoreply()
	if len(c.args[1]) > maxKeyBytes {
		c.reply(replyBadFormat)
		return false
	}
	return true
}
