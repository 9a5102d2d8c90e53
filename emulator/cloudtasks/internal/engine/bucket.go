package engine

import (
	"math"
	"time"
)

// maxInterval bounds the time between two tokens, so that sums of tokens stay
// within an int64 of nanoseconds.
const maxInterval = 31 * 24 * time.Hour

// A bucket is a token bucket in its virtual-schedule form: it keeps the time at
// which it would be full again. Nothing accumulates rounding errors, a timer
// that fires late is made up for, and rates far below one a second work. The
// zero bucket is full and lets everything pass.
type bucket struct {
	interval int64 // nanoseconds a token; 0 is no limit
	burst    int64 // tokens in a full bucket
	full     int64 // Unix nanoseconds
}

// limit sets the rate; tokens already used stay used.
func (b *bucket) limit(perSecond float64, burst int) {
	interval := float64(time.Second) / perSecond
	b.interval = int64(min(math.Ceil(interval), float64(maxInterval)))
	b.burst = int64(max(burst, 1))
}

// ready returns the Unix nanosecond from which a token is there. No bucket is
// more than empty: what a slower rate or a clock since set back would have had to
// wait for is forgotten.
func (b *bucket) ready(now int64) int64 {
	b.full = min(b.full, now+b.burst*b.interval)
	return b.full - (b.burst-1)*b.interval
}

// take removes a token at the time now.
func (b *bucket) take(now int64) {
	b.full = max(b.full, now) + b.interval
}
