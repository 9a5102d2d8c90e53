package service

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

// A list is what a page token is good for.
type list struct {
	what string // such as "tasks of" and the queue
	now  time.Time
}

func (l list) sum(made uint64, after string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, made))
	_, _ = h.Write([]byte(l.what))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(after))
	return h.Sum64()
}

// token makes the token for the page that starts after an item.
func (l list) token(after string) string {
	made := uint64(l.now.UnixMicro())
	b := binary.BigEndian.AppendUint64(nil, made)
	b = binary.BigEndian.AppendUint64(b, l.sum(made, after))
	return base64.RawURLEncoding.EncodeToString(append(b, after...))
}

// open returns the item that a page starts after; "" opens the first page.
func (l list) open(token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < tokenHeader {
		return "", Invalid("The page token is malformed.")
	}
	made, sum := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	after = string(b[tokenHeader:])
	if sum != l.sum(made, after) {
		return "", Invalid("The page token was made for another list, or is malformed.")
	}
	if age := l.now.Sub(time.UnixMicro(int64(made))); age > tokenLife {
		return "", Invalid("The page token has expired: it is good for %v.", tokenLife)
	}
	return after, nil
}

// A Page says which part of a list is asked for.
type Page struct {
	Size  int32 // 0 is the largest, and so is more
	Token string
}

// size applies the rule for page sizes.
func (p Page) size(largest int) (int, error) {
	if p.Size < 0 {
		return 0, Invalid("Page size %d cannot be negative.", p.Size)
	}
	if p.Size == 0 || int(p.Size) > largest {
		return largest, nil
	}
	return int(p.Size), nil
}
