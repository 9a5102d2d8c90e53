package memcached

import "strconv"

// metaGet answers mg.
func (c *conn) metaGet() error {
	if !c.metaKeyed("CLIENT_ERROR options flags are too long") {
		return nil
	}
	m := &c.meta
	if fault := m.parse(c.args[1], c.args[2:]); fault != "" {
		c.reply(fault)
		return nil
	}
	return c.answer(c.s.cache.metaGet(m, c.scratch[:0]))
}

// metaGet reads the entry of m.key, and does to it what the flags say: a new
// deadline (T), an empty entry in place of a missing one (N), the right to
// renew it (N, R, or an invalidated value), which one client gets. The answer is
// put together in line.
func (c *cache) metaGet(m *metaCommand, line []byte) metaAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	it := c.find(m.key, now, true)
	created := it == nil && m.has('N')
	switch {
	case created:
		it = c.link(m.key)
		c.replace(it, &candidate{value: []byte("\r\n")}, now)
		c.evict()
	case it == nil:
		c.count.getMisses++
		a := m.echo(line, "EN")
		a.silent = m.has('q')
		return a
	}
	// With these flags the command is a use only when all has been answered.
	bump := !m.has('u')
	late := m.seen&(bit('N')|bit('T')|bit('R')|bit('l')|bit('h')) != 0
	if bump && !late {
		c.hit(it, now)
	}

	if m.has('v') {
		line = strconv.AppendInt(append(line, "VA "...), int64(len(it.value)-2), 10)
	} else {
		line = append(line, "HD"...)
	}
	win := false
	for _, flag := range m.flags {
		switch flag[0] {
		case 'T':
			it.expire = c.clock.deadline(now, m.ttl)
		case 'N':
			if created {
				it.expire = c.clock.deadline(now, m.vivifyTTL)
				win = true
			}
		case 'R':
			if !created && !it.marks.has(won) && it.expire != 0 && it.expire < c.clock.deadline(now, m.recacheTTL) {
				win = true
			}
		case 's':
			line = appendNumber(line, 's', uint64(len(it.value)-2))
		case 't':
			line = appendTTL(line, it.expire, now)
		case 'c':
			line = appendNumber(line, 'c', it.cas)
		case 'f':
			line = appendNumber(line, 'f', uint64(it.flags))
		case 'l':
			line = appendNumber(line, 'l', uint64(now-it.used))
		case 'h':
			line = appendNumber(line, 'h', uint64(it.marks&fetched))
		default:
			var ok bool
			if line, ok = m.appendEcho(line, flag, it.marks.has(binaryKey)); !ok {
				return metaAnswer{fault: faultOpaqueLength}
			}
		}
	}
	told := it.marks.has(won)
	if told {
		line = append(line, " Z"...)
	}
	if it.marks.has(stale) {
		line = append(line, " X"...)
		win = win || !told
	}
	if win {
		line = append(line, " W"...)
		it.marks |= won
	}
	if bump && late {
		c.hit(it, now)
	}
	if m.has('T') {
		c.count.touchHits++
	} else {
		c.count.getHits++
	}
	a := metaAnswer{line: line}
	if m.has('v') {
		a.value = it.value
	}
	return a
}
