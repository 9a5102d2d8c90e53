package memcached

import "math/bits"

// maxKeyBytes is the protocol's limit on keys.
const maxKeyBytes = 250

// An item is one entry of the cache. The bytes of value never change once the
// item is linked, so that they can be written to a client without the lock; a
// new value replaces the slice.
type item struct {
	key    string
	value  []byte // ends with CRLF, as it goes out
	flags  uint32
	marks  marks
	cas    uint64
	expire int64 // second from which on it is gone; 0 is never
	stored int64 // second in which the value was written
	used   int64 // second of its last use

	prev, next *item // towards the most and the least recently used
}

// marks are what else an item remembers. A value that is stored anew has none
// but those that come with it.
type marks uint8

const (
	fetched   marks = 1 << iota // read since it was stored
	stale                       // its value has been invalidated
	won                         // a client has been told to renew it
	binaryKey                   // its key was sent in base64, and is answered so
)

func (m marks) has(which marks) bool { return m&which != 0 }

// entry is what a client sees of an item.
type entry struct {
	value []byte
	flags uint32
	cas   uint64
}

func (it *item) entry() entry { return entry{value: it.value, flags: it.flags, cas: it.cas} }

// protocolSize is the size that the real server compares with its item limit:
// the header of its item, a cas id, the key with a terminator, the value with
// its CRLF, and the flags unless they are 0. dataLen leaves the CRLF out.
func protocolSize(keyLen int, flags uint32, dataLen int) int {
	size := 48 + 8 + keyLen + 1 + dataLen + 2
	if flags != 0 {
		size += 4
	}
	return size
}

// itemOverhead is what an entry occupies beside its key and value: the item
// itself (a 112-byte allocation) and its share of a map that is half empty.
const itemOverhead = 112 + 64

// footprint is the memory that an item occupies, at least: what MaxBytes
// bounds. TestFootprintCoversHeap compares it with the heap.
func footprint(it *item) int64 {
	return itemOverhead + allocated(len(it.key)) + allocated(len(it.value))
}

// allocated bounds the memory that an allocation of n bytes takes. The runtime
// rounds small ones up to sizes of which there are at least four between two
// powers of two, and larger ones to pages.
func allocated(n int) int64 {
	const page = 8 << 10
	step := page
	if n <= 32<<10 {
		step = max(16, 1<<bits.Len(uint(max(n-1, 0)))/4)
	}
	return int64((n + step - 1) / step * step)
}
