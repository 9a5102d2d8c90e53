package memcached

import (
	"bytes"
	"errors"
	"math"
	"strconv"
)

// metaSet answers ms: a line, then a block of data that ends with CRLF, which is
// swallowed where the line is refused for anything but its beginning.
func (c *conn) metaSet() error {
	if !c.metaKeyed(faultTooManyFlags) {
		return nil
	}
	if len(c.args) == 2 {
		c.reply(replyBadFormat)
		return nil
	}
	length, ok := parseInt32(c.args[2])
	if !ok || length < 0 || length > math.MaxInt32-2 {
		c.reply(replyBadFormat)
		return nil
	}
	n := int(length)
	m := &c.meta
	if fault := m.parse(c.args[1], c.args[3:]); fault != "" {
		c.reply(fault)
		return c.swallow(n + 2)
	}
	mode, ok := m.storeMode()
	if !ok {
		c.reply("CLIENT_ERROR invalid mode for ms M token")
		return c.swallow(n + 2)
	}
	tail, casAt, ok := m.setTail(c.scratch[:0])
	if !ok {
		c.reply(faultOpaqueLength)
		return c.swallow(n + 2)
	}
	if protocolSize(len(m.key), m.clientFlags, n) > c.s.opts.MaxItemBytes {
		c.reply(replyTooLarge)
		c.s.cache.refuse(m.key, true, true)
		return c.swallow(n + 2)
	}

	v := candidate{
		key:    append(c.key[:0], m.key...), // reading the data overwrites the line
		flags:  m.clientFlags,
		marks:  m.marks(),
		expire: c.s.cache.deadline(m.ttl),
		cas:    m.cas,
		late:   m.has('I'),
	}
	data, err := c.value(n + 2)
	switch {
	case errors.Is(err, errNoBudget):
		c.reply(replyNoMemory)
		c.s.cache.refuse(v.key, false, true)
		return nil
	case err != nil:
		return err
	case !bytes.HasSuffix(data, []byte("\r\n")):
		c.reply(replyBadChunk)
		return nil
	}
	v.value = data
	result, cas := c.s.cache.store(mode, v)
	if result == stored && m.has('q') {
		return nil
	}
	_, _ = c.out.WriteString(result.metaStatus())
	if casAt < 0 {
		_, _ = c.out.Write(tail)
	} else {
		_, _ = c.out.Write(tail[:casAt])
		_, _ = c.out.Write(strconv.AppendUint(append(c.out.AvailableBuffer(), " c"...), cas, 10))
		_, _ = c.out.Write(tail[casAt:])
	}
	_, err = c.out.WriteString("\r\n")
	return err
}

// storeMode is what M says. A cas id makes a condition of its own of the modes
// that have none.
func (m *metaCommand) storeMode() (mode storeMode, ok bool) {
	switch m.mode {
	case 0, 'S':
		mode = modeSet
	case 'E':
		mode = modeAdd
	case 'A':
		mode = modeAppend
	case 'P':
		mode = modePrepend
	case 'R':
		mode = modeReplace
	default:
		return 0, false
	}
	if m.has('C') && (mode == modeSet || mode == modeReplace) {
		mode = modeCAS
	}
	return mode, true
}

// setTail is what follows the status in the answer to ms, but for the cas id,
// which isn't known yet; casAt is its place, or -1. ok is false where the opaque
// token is too long.
func (m *metaCommand) setTail(line []byte) (tail []byte, casAt int, ok bool) {
	casAt = -1
	for _, flag := range m.flags {
		if flag[0] == 'c' {
			casAt = len(line)
		}
		if line, ok = m.appendEcho(line, flag, m.has('b')); !ok {
			return nil, 0, false
		}
	}
	return line, casAt, true
}

func (r storeResult) metaStatus() string {
	switch r {
	case stored:
		return "HD"
	case exists:
		return "EX"
	case notFound:
		return "NF"
	default:
		return "NS"
	}
}
