package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// What is stored stays, so half as much again is room enough for garbage: with
// 100,000 entities a tenth less memory than Go's default. But while little is
// stored, a collection for every few megabytes would cost a fourth of all CPU.
const (
	gcPercent = 50
	gcRoom    = 12 << 20 // bytes of garbage that are worth a collection
	gcMost    = 400      // percent, which is 16 MB before anything is stored
)

// percentFor is the percentage for so many bytes that stay.
func percentFor(stored uint64) int {
	return int(min(max(100*gcRoom/max(stored, 1), gcPercent), gcMost))
}

// paceGC sets the garbage collector's percentage, now and whenever a collection
// has shown how much stays.
func paceGC() {
	debug.SetGCPercent(gcMost)
	afterGC(gcMost)
}

// afterGC adapts the percentage, which is current, after each collection.
func afterGC(current int) {
	runtime.AddCleanup(new([64]byte), func(current int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if live[0].Value.Kind() != metrics.KindUint64 {
			return
		}
		wanted := percentFor(live[0].Value.Uint64())
		if 10*max(wanted-current, current-wanted) > current { // setting it stops everything for a moment
			debug.SetGCPercent(wanted)
			current = wanted
		}
		afterGC(current)
	}, current)
}
