package encoding

import "strings"

// EncodedLen is the length of the index form at the beginning of s, which is
// whole.
func EncodedLen(s string, complemented bool) int {
	if complemented {
		return max(0, valueLen(s, 0xFF))
	}
	return max(0, valueLen(s, 0))
}

// EncodedPathLen is the length of the path at the beginning of s, which is whole.
func EncodedPathLen(s string) int { return max(0, pathLen(s, 0)) }

// CutEncoded cuts the index form of one value, without decoding it, from s,
// where it may be complemented. value is plain in either case.
func CutEncoded(s string, complemented bool) (value, rest string, err error) {
	var mask byte
	if complemented {
		mask = 0xFF
	}
	n := valueLen(s, mask)
	if n < 0 {
		return "", "", errCorrupt
	}
	value, rest = s[:n], s[n:]
	if complemented {
		b := []byte(value)
		Complement(b)
		value = string(b)
	}
	return value, rest, nil
}

// CutEncodedPath is CutEncoded for a path that is not complemented.
func CutEncodedPath(s string) (path, rest string, err error) {
	n := pathLen(s, 0)
	if n < 0 {
		return "", "", errCorrupt
	}
	return s[:n], s[n:], nil
}

// valueLen is the length of the value at the beginning of s, whose bytes are
// combined with mask; -1 says that there is none.
func valueLen(s string, mask byte) int {
	if s == "" {
		return -1
	}
	n := 1
	switch s[0] ^ mask {
	case tagNull, tagFalse, tagTrue:
	case tagInt, tagDouble:
		n += 8
	case tagGeo:
		n += 16
	case tagText:
		return plus(1, textLen(s[1:], mask))
	case tagKey:
		for range 3 {
			if n = plus(n, textLen(s[n:], mask)); n < 0 {
				return -1
			}
		}
		return plus(n, pathLen(s[n:], mask))
	default:
		return -1
	}
	if n > len(s) {
		return -1
	}
	return n
}

func plus(n, more int) int {
	if more < 0 {
		return -1
	}
	return n + more
}

func textLen(s string, mask byte) int {
	n := 0
	for {
		i := strings.IndexByte(s[n:], mask)
		if i < 0 || n+i+1 >= len(s) {
			return -1
		}
		n += i + 2
		switch s[n-1] ^ mask {
		case 0:
			return n
		case 0xFF:
		default:
			return -1
		}
	}
}

func pathLen(s string, mask byte) int {
	n := 0
	for {
		kind := textLen(s[n:], mask)
		if kind < 0 {
			return -1
		}
		n += kind
		if kind == 2 {
			return n // the end mark
		}
		if n >= len(s) {
			return -1
		}
		tag := s[n] ^ mask
		n++
		switch tag {
		case tagID:
			if n += 8; n > len(s) {
				return -1
			}
		case tagName:
			if n = plus(n, textLen(s[n:], mask)); n < 0 {
				return -1
			}
		case tagNoID:
		default:
			return -1
		}
	}
}
