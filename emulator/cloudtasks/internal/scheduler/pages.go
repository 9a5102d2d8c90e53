package scheduler

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"time"
)

// tokenLife is how long a page token is good for.
const tokenLife = 2 * time.Hour

// A page token holds the time of its making, a checksum over that and the list it
// is for, and the last name of its page.
const tokenHeader = 8 + 8

func tokenSum(made uint64, parent, after string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, made))
	_, _ = h.Write([]byte("jobs of " + parent + "\x00" + after))
	return h.Sum64()
}

func newToken(now time.Time, parent, after string) string {
	made := uint64(now.UnixMicro())
	b := binary.BigEndian.AppendUint64(nil, made)
	b = binary.BigEndian.AppendUint64(b, tokenSum(made, parent, after))
	return base64.RawURLEncoding.EncodeToString(append(b, after...))
}

// openToken returns the name that a page starts after; "" opens the first page.
func openToken(now time.Time, token, parent string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < tokenHeader {
		return "", invalid("The page token is malformed.")
	}
	made, sum := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	after = string(b[tokenHeader:])
	if sum != tokenSum(made, parent, after) {
		return "", invalid("The page token was made for another list, or is malformed.")
	}
	if now.Sub(time.UnixMicro(int64(made))) > tokenLife {
		return "", invalid("The page token has expired: it is good for %v.", tokenLife)
	}
	return after, nil
}
