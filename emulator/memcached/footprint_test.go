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

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
