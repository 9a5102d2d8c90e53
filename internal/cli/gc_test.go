package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for stored, want := range map[uint64]int{
		0:         gcMost,
		3 << 20:   gcMost,
		6 << 20:   200,
		12 << 20:  100,
		24 << 20:  gcPercent,
		400 << 20: gcPercent,
	} {
		if got := percentFor(stored); got != want {
			t.Errorf("with %d bytes stored %d %%, want %d %%", stored, got, want)
		}
	}
}

// What is stored makes the percentage fall, and rise again once it is gone.
func TestPaceGC(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	paceGC()
	current := func() int {
		percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(percent)
		return int(percent[0].Value.Uint64())
	}
	until := func(good func(percent int) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !good(current()); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("still at %d %%", current())
			}
			runtime.GC()
		}
	}
	stored := make([]byte, 100<<20)
	until(func(percent int) bool { return percent == gcPercent })
	runtime.KeepAlive(stored)
	until(func(percent int) bool { return percent > gcPercent })
}
