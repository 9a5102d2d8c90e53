package memcached

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
)

const (
	// metaLetters are the flags that a meta command may have, whether they
	// mean anything to it or not. P and L are for proxies.
	metaLetters = "bcfhklqstuvCDFIJLMNOPRT"

	// maxMetaWords and maxOpaqueBytes are the real server's limits; the latter
	// has the letter O in it.
	maxMetaWords   = 19
	maxOpaqueBytes = 32

	// metaLineBytes is enough for any answer without its value.
	metaLineBytes = 512
)

const (
	faultDuplicateFlag = "CLIENT_ERROR duplicate flag"
	faultUnknownFlag   = "CLIENT_ERROR invalid flag"
	faultEitherFlag    = "CLIENT_ERROR invalid or duplicate flag"
	faultTooManyFlags  = "CLIENT_ERROR options flags too long"
	faultToken         = "CLIENT_ERROR bad token in command line format"
	faultKeyEncoding   = "CLIENT_ERROR error decoding key"
	faultModeLength    = "CLIENT_ERROR incorrect length for M token"
	faultInitial       = "CLIENT_ERROR invalid numeric initial value"
	faultDelta         = "CLIENT_ERROR invalid numeric delta value"
	faultOpaqueLength  = "CLIENT_ERROR opaque token too long"
)

// A metaCommand is what mg, ms, md and ma share: a key, and flags of one letter,
// some with a token behind it. Their order matters: answers keep it, and what
// a flag changes shows in what a later one asks for.
type metaCommand struct {
	key   []byte
	flags [][]byte
	seen  uint64 // a bit for each letter

	mode        byte   // M
	ttl         int32  // T
	vivifyTTL   int32  // N
	recacheTTL  int32  // R
	clientFlags uint32 // F
	cas         uint64 // C
	delta       uint64 // D
	initial     uint64 // J
}

// parse reads flags, and decodes key, in place, where they say so. It returns
// the error that the real server gives, or "". Of several it is the last one,
// but a flag that is unknown or comes twice ends the reading.
func (m *metaCommand) parse(key []byte, flags [][]byte) (fault string) {
	*m = metaCommand{key: key, flags: flags, delta: 1}
	for _, flag := range flags {
		letter, token := flag[0], flag[1:]
		switch {
		case letter >= 0x7f || m.has(letter):
			return faultDuplicateFlag
		case strings.IndexByte(metaLetters, letter) < 0:
			return faultUnknownFlag
		}
		m.seen |= bit(letter)
		ok, problem := true, faultToken
		switch letter {
		case 'b':
			m.key, problem = decodeKey(key), faultKeyEncoding
			ok = len(m.key) > 0
		case 'T':
			m.ttl, ok = parseInt32(token)
		case 'N':
			m.vivifyTTL, ok = parseInt32(token)
		case 'R':
			m.recacheTTL, ok = parseInt32(token)
		case 'C':
			m.cas, ok = parseUint64(token)
		case 'F':
			m.clientFlags, ok = parseUint32(token)
			if !ok && fault == "" {
				fault = replyBadFormat
			}
			continue
		case 'M':
			problem = faultModeLength
			if ok = len(token) == 1; ok {
				m.mode = token[0]
			}
		case 'J':
			problem = faultInitial
			m.initial, ok = parseUint64(token)
		case 'D':
			problem = faultDelta
			m.delta, ok = parseUint64(token)
		}
		if !ok {
			fault = problem
		}
	}
	return fault
}

// bit is the place of a letter in a set; what is no letter has none.
func bit(letter byte) uint64 { return 1 << (letter - '@') }

func (m *metaCommand) has(letter byte) bool { return m.seen&bit(letter) != 0 }

// marks are what the command gives to a value that it stores.
func (m *metaCommand) marks() marks {
	if m.has('b') {
		return binaryKey
	}
	return 0
}

// A metaAnswer is one of: a fault, silence, or a line and perhaps a value.
type metaAnswer struct {
	fault  string
	silent bool
	line   []byte // without its end
	value  []byte // with its end
}

// answer sends a.
func (c *conn) answer(a metaAnswer) error {
	switch {
	case a.fault != "":
		c.reply(a.fault)
	case !a.silent:
		_, _ = c.out.Write(a.line)
		_, _ = c.out.WriteString("\r\n")
		_, err := c.out.Write(a.value)
		return err
	}
	return nil
}

// appendEcho appends what the flags O and k repeat of the command. It returns
// false where that is too long.
func (m *metaCommand) appendEcho(line, flag []byte, binary bool) ([]byte, bool) {
	switch flag[0] {
	case 'O':
		if len(flag) > maxOpaqueBytes {
			return line, false
		}
		line = append(append(line, ' '), flag...)
	case 'k':
		line = append(line, " k"...)
		if !binary {
			return append(line, m.key...), true
		}
		line = base64.StdEncoding.AppendEncode(line, m.key)
		line = append(line, " b"...)
	}
	return line, true
}

// echo answers status and the repetitions, for want of an entry.
func (m *metaCommand) echo(line []byte, status string) metaAnswer {
	line = append(line, status...)
	for _, flag := range m.flags {
		var ok bool
		if line, ok = m.appendEcho(line, flag, m.has('b')); !ok {
			return metaAnswer{fault: faultOpaqueLength}
		}
	}
	return metaAnswer{line: line}
}

func appendNumber(line []byte, letter byte, n uint64) []byte {
	return strconv.AppendUint(append(line, ' ', letter), n, 10)
}

// appendTTL appends the seconds until expire. Those of an entry that has just
// been given a deadline in the past wrap around, as the real server's do.
func appendTTL(line []byte, expire, now int64) []byte {
	if expire == 0 {
		return append(line, " t-1"...)
	}
	return appendNumber(line, 't', uint64(expire-now)&math.MaxUint32)
}

// metaKeyed is the beginning that the meta commands share: a key, and not too
// many flags.
func (c *conn) metaKeyed(tooMany string) bool {
	switch {
	case len(c.args) < 2:
		c.reply(replyError)
	case len(c.args[1]) > maxKeyBytes:
		c.reply(replyBadFormat)
	case len(c.args) > maxMetaWords:
		c.reply(tooMany)
	default:
		return true
	}
	return false
}
