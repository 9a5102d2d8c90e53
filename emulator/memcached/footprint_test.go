package memcached

import (
	"fmt"
	"runtime"
	"testing"
)

// The bound on bytes is honest: what the heap grows by when the cache fills is
// no more than what the cache says it holds.
func TestFootprintCoversHeap(t *testing.T) {
	for _, size := range []int{0, 10, 100, 1000, 2400, 6900, 33000, 200000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			before := liveHeap()
			c := newCache(&Options{MaxBytes: 8 << 20, MaxItemBytes: 1 << 20})
			for i := 0; c.count.evictions == 0; i++ {
				value := make([]byte, size+2)
				c.store(modeSet, candidate{key: fmt.Appendf(nil, "key-%d", i), value: value})
			}
			grown := liveHeap() - before
			if c.bytes > c.maxBytes || c.bytes < c.maxBytes/2 {
				t.Errorf("full at %d bytes of %d", c.bytes, c.maxBytes)
			}
			const noise = 64 << 10 // of the test and the runtime themselves
			if grown > c.bytes+noise {
				t.Errorf("%d items take %d bytes of heap, and count for %d", len(c.items), grown, c.bytes)
			}
			t.Logf("%d items: %d bytes of heap, counted as %d", len(c.items), grown, c.bytes)
			runtime.KeepAlive(c)
		})
	}
}

// Entries that meta commands make by themselves count as well.
func TestMetaCommandsAreBounded(t *testing.T) {
	for name, change := range map[string]func(c *cache, key []byte){
		"mg": func(c *cache, key []byte) {
			var m metaCommand
			m.parse(key, [][]byte{[]byte("N60")})
			c.metaGet(&m, nil)
		},
		"ma": func(c *cache, key []byte) {
			var m metaCommand
			m.parse(key, [][]byte{[]byte("N60"), []byte("J18446744073709551615")})
			c.metaDelta(&m, delta{by: 1}, nil)
		},
		"incr": func(c *cache, key []byte) {
			c.store(modeSet, candidate{key: key, value: []byte("9\r\n")})
			c.add(key, delta{by: 9999999999})
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := liveHeap()
			c := newCache(&Options{MaxBytes: 2 << 20, MaxItemBytes: 1 << 20})
			for i := range 100000 {
				change(c, fmt.Appendf(nil, "key-%d", i))
			}
			grown := liveHeap() - before
			if c.bytes > c.maxBytes || c.bytes < c.maxBytes/2 || c.count.evictions == 0 {
				t.Errorf("%d bytes of %d after %d evictions", c.bytes, c.maxBytes, c.count.evictions)
			}
			const noise = 64 << 10
			if grown > c.bytes+noise {
				t.Errorf("%d items take %d bytes of heap, and count for %d", len(c.items), grown, c.bytes)
			}
			var sum int64
			for it := c.recent.next; it != &c.recent; it = it.next {
				sum += footprint(it)
			}
			if sum != c.bytes {
				t.Errorf("the items' footprints are %d bytes together, and count for %d", sum, c.bytes)
			}
			if !c.limit(2*int64(c.maxItem)) || c.limit(2*int64(c.maxItem)-1) || c.limit(c.ceiling+1) {
				t.Error("the bound moves below two items or above its ceiling")
			}
			runtime.KeepAlive(c)
		})
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
