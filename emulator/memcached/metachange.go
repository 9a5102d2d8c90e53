package memcached

import "strconv"

// metaDelete answers md.
func (c *conn) metaDelete() error {
	if !c.metaKeyed(faultTooManyFlags) {
		return nil
	}
	m := &c.meta
	if m.parse(c.args[1], c.args[2:]) != "" {
		c.reply(faultEitherFlag)
		return nil
	}
	a := m.echo(c.scratch[:0], "HD")
	if a.fault == "" {
		status := c.s.cache.metaDelete(m)
		copy(a.line, status)
		a.silent = status == "HD" && m.has('q')
	}
	return c.answer(a)
}

// metaDelete deletes the entry of m.key or, with the flag I, invalidates it: it
// stays, with a new cas id and perhaps a new deadline, and the next client to
// read it is told to renew it.
func (c *cache) metaDelete(m *metaCommand) (status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	it := c.find(m.key, now, false)
	switch {
	case it == nil:
		c.count.deleteMisses++
		return "NF"
	case m.has('C') && it.cas != m.cas:
		c.count.deleteMisses++
		return "EX"
	case m.has('I'):
		if m.has('T') {
			it.expire = c.clock.deadline(now, m.ttl)
		}
		it.marks = it.marks&^won | stale
		c.lastCAS++
		it.cas = c.lastCAS
	default:
		c.count.deleteHits++
		c.unlink(it)
	}
	return "HD"
}

// metaDelta answers ma.
func (c *conn) metaDelta() error {
	if !c.metaKeyed(faultTooManyFlags) {
		return nil
	}
	m := &c.meta
	if m.parse(c.args[1], c.args[2:]) != "" {
		c.reply(faultEitherFlag)
		return nil
	}
	d := delta{by: m.delta, cas: m.cas}
	switch m.mode {
	case 0, 'I', '+':
	case 'D', '-':
		d.down = true
	default:
		c.reply("CLIENT_ERROR invalid mode for ma M token")
		return nil
	}
	return c.answer(c.s.cache.metaDelta(m, d, c.scratch[:0]))
}

// metaDelta changes the number of m.key, or begins one where N says so. The
// answer is put together in line.
func (c *cache) metaDelta(m *metaCommand, d delta, line []byte) metaAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.now()
	it := c.find(m.key, now, false)
	created := it == nil && m.has('N')
	n, result := m.initial, deltaOK
	switch {
	case created:
		it = c.link(m.key)
		c.replace(it, &candidate{value: append(strconv.AppendUint(nil, n, 10), "\r\n"...)}, now)
		c.evict()
	case it == nil:
		c.countDeltaMiss(d)
		return m.echo(line, "NF")
	default:
		n, result = c.change(it, d, now)
	}
	switch result {
	case deltaExists:
		return m.echo(line, "EX")
	case deltaNonNumeric:
		return metaAnswer{fault: replyNonNumeric}
	}

	var digits [20]byte
	number := strconv.AppendUint(digits[:0], n, 10)
	if m.has('v') {
		line = strconv.AppendInt(append(line, "VA "...), int64(len(number)), 10)
	} else {
		line = append(line, "HD"...)
	}
	// A number that grows is a new item to the real server, and T changes the
	// deadline of the old one: to be seen in this answer, and lost.
	expire := &it.expire
	if result == deltaGrown {
		lost := it.expire
		expire = &lost
	}
	for _, flag := range m.flags {
		switch flag[0] {
		case 'T':
			*expire = c.clock.deadline(now, m.ttl)
		case 'N':
			if created {
				*expire = c.clock.deadline(now, m.vivifyTTL)
			}
		case 't':
			line = appendTTL(line, *expire, now)
		case 'c':
			line = appendNumber(line, 'c', it.cas)
		default:
			var ok bool
			if line, ok = m.appendEcho(line, flag, m.has('b')); !ok {
				return metaAnswer{fault: faultOpaqueLength}
			}
		}
	}
	if m.has('v') {
		line = append(append(line, "\r\n"...), number...)
	}
	return metaAnswer{line: line, silent: m.has('q') && !created}
}
