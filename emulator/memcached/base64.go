package memcached

// decodeKey decodes base64 in place, as leniently as the real server: what is
// not of the alphabet is skipped, and what follows the padding ignored. It
// returns nothing where no bytes come out or the number of letters is wrong.
func decodeKey(key []byte) []byte {
	letters := 0
	for _, b := range key {
		if _, ok := sixBits(b); ok {
			letters++
		}
	}
	if letters%4 != 0 {
		return nil
	}
	out := key[:0]
	var block uint32
	count, padding := 0, 0
	for _, b := range key {
		v, ok := sixBits(b)
		if !ok {
			continue
		}
		if b == '=' {
			padding++
		}
		block = block<<6 | v
		if count++; count%4 != 0 {
			continue
		}
		if padding > 2 {
			return nil
		}
		decoded := [3]byte{byte(block >> 16), byte(block >> 8), byte(block)}
		out = append(out, decoded[:3-padding]...)
		if padding > 0 {
			break
		}
	}
	return out
}

func sixBits(b byte) (v uint32, ok bool) {
	switch {
	case 'A' <= b && b <= 'Z':
		return uint32(b - 'A'), true
	case 'a' <= b && b <= 'z':
		return uint32(b-'a') + 26, true
	case '0' <= b && b <= '9':
		return uint32(b-'0') + 52, true
	case b == '+':
		return 62, true
	case b == '/':
		return 63, true
	case b == '=':
		return 0, true
	}
	return 0, false
}
