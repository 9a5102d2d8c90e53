package memcached

import (
	"bytes"
	"math"
)

// The numbers of the protocol are read as the real server reads them, by C's
// strtoll and strtoull: leading white space and a sign are accepted, the number
// ends at white space, at a NUL or with the token, and whatever follows white
// space is ignored. A range error fails; narrower types keep the low bits.

// parseUint64 reads an unsigned number. A minus negates modulo 2^64 and is
// refused only where the result has its top bit set.
func parseUint64(b []byte) (uint64, bool) {
	neg, v, ok := scanNumber(b)
	if !ok {
		return 0, false
	}
	if neg {
		v = -v
	}
	if v > math.MaxInt64 && bytes.IndexByte(b, '-') >= 0 {
		return 0, false
	}
	return v, true
}

// parseUint32 reads client flags.
func parseUint32(b []byte) (uint32, bool) {
	v, ok := parseUint64(b)
	return uint32(v), ok
}

// parseInt32 reads expirations and lengths.
func parseInt32(b []byte) (int32, bool) {
	neg, v, ok := scanNumber(b)
	if !ok || v > math.MaxInt64+1 || v > math.MaxInt64 && !neg {
		return 0, false
	}
	if neg {
		v = -v
	}
	return int32(v), true
}

// scanNumber reads sign and magnitude; ok is false where there are no digits,
// where they are followed by anything but white space or a NUL, and where the
// magnitude needs more than 64 bits.
func scanNumber(b []byte) (neg bool, v uint64, ok bool) {
	i := 0
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		neg = b[i] == '-'
		i++
	}
	first := i
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		d := uint64(b[i] - '0')
		if v > (math.MaxUint64-d)/10 {
			return neg, 0, false
		}
		v = v*10 + d
	}
	if i == first || i < len(b) && b[i] != 0 && !isSpace(b[i]) {
		return neg, 0, false
	}
	return neg, v, true
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
