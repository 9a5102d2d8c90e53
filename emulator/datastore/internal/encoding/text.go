package encoding

import (
	"errors"
	"strings"
)

// errCorrupt reports bytes that no encoder of this package produced. Callers
// turn it into an error that names what the bytes were (a cursor, a record).
var errCorrupt = errors.New("malformed encoding")

// appendText appends s so that it ends itself and sorts bytewise: a zero byte
// becomes 00 FF and the end is 00 00. The empty string is therefore the
// smallest text, which keys use as their end mark.
func appendText(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			dst = append(dst, s...)
			return append(dst, 0, 0)
		}
		dst = append(dst, s[:i]...)
		dst = append(dst, 0, 0xFF)
		s = s[i+1:]
	}
}

// cutText is the inverse of appendText; it returns what follows the text.
func cutText(s string) (text, rest string, err error) {
	i := strings.IndexByte(s, 0)
	if i < 0 || i+1 >= len(s) {
		return "", "", errCorrupt
	}
	if s[i+1] == 0 {
		return s[:i], s[i+2:], nil
	}
	var b strings.Builder
	for {
		b.WriteString(s[:i])
		switch s[i+1] {
		case 0:
			return b.String(), s[i+2:], nil
		case 0xFF:
			b.WriteByte(0)
			s = s[i+2:]
		default:
			return "", "", errCorrupt
		}
		i = strings.IndexByte(s, 0)
		if i < 0 || i+1 >= len(s) {
			return "", "", errCorrupt
		}
	}
}

// Complement inverts every byte of b in place, which reverses the order of
// self-ending encodings.
func Complement(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// PrefixEnd is the smallest string greater than every string that starts with
// prefix; "" means that there is none.
func PrefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xFF {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}
