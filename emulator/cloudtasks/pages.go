package cloudtasks

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"time"
)

const tokenLife = 2 * time.Hour

// A page token holds the time of its making, a checksum over what it is for, and
// the last item of its page.
const tokenHeader = 8 + 8

func tokenSum(made uint64, list, after string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, made))
	_, _ = h.Write([]byte(list))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(after))
	return h.Sum64()
}

// newToken makes the token for the page of list that starts after an item.
func newToken(list, after string) string {
	made := uint64(time.Now().UnixMicro())
	b := binary.BigEndian.AppendUint64(nil, made)
	b = binary.BigEndian.AppendUint64(b, tokenSum(made, list, after))
	return base64.RawURLEncoding.EncodeToString(append(b, after...))
}

// openToken returns the item that a page starts after; "" opens the first page.
func openToken(token, list string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < tokenHeader {
		return "", invalid("The page token is malformed.")
	}
	made, sum := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	after = string(b[tokenHeader:])
	if sum != tokenSum(made, list, after) {
		return "", invalid("The page token was made for another list, or is malformed.")
	}
	if age := time.Since(time.UnixMicro(int64(made))); age > tokenLife {
		return "", invalid("The page token has expired: it is good for %v.", tokenLife)
	}
	return after, nil
}

// pageSize applies the rule for page sizes: 0 is the largest, and so is more.
func pageSize(asked int32, largest int) (int, error) {
	if asked < 0 {
		return 0, invalid("Page size %d cannot be negative.", asked)
	}
	if asked == 0 || int(asked) > largest {
		return largest, nil
	}
	return int(asked), nil
}
