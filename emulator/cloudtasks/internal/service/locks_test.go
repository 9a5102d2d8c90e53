package service

import (
	"strconv"
	"sync"
	"testing"
)

// One holder for each key at a time, and nothing is left of keys that nobody
// uses.
func TestLocks(t *testing.T) {
	var l locks
	var counts [3]int // each guarded by its key
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			defer l.lock(strconv.Itoa(i % 3))()
			counts[i%3]++
		})
	}
	all.Wait()
	if counts != [3]int{100, 100, 100} || len(l.held) != 0 {
		t.Errorf("counted %v, %d keys left", counts, len(l.held))
	}
}
