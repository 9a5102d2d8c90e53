package engine

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name     string
		min, max time.Duration
		doublings,
		first int
		want []time.Duration
	}{
		{"the example of max_doublings in the API", 10 * s, 300 * s, 3, 1,
			[]time.Duration{10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 240 * s, 300 * s, 300 * s}},
		{"no doublings grow linearly at once", 10 * s, 55 * s, 0, 1,
			[]time.Duration{10 * s, 20 * s, 30 * s, 40 * s, 50 * s, 55 * s, 55 * s}},
		{"the service's defaults", s / 10, 3600 * s, 16, 14,
			[]time.Duration{8192 * s / 10, 16384 * s / 10, 32768 * s / 10, 3600 * s, 3600 * s}},
		{"equal bounds", 5 * s, 5 * s, 16, 1, []time.Duration{5 * s, 5 * s, 5 * s}},
		{"nothing", 0, 0, 16, 1, []time.Duration{0, 0}},
		{"no least delay", 0, 10 * s, 0, 1, []time.Duration{0, 0, 0}},
		{"extremes don't overflow", math.MaxInt64/2 + 2, math.MaxInt64, math.MaxInt32, 1,
			[]time.Duration{math.MaxInt64/2 + 2, math.MaxInt64}},
		{"attempts without end", s, 1000 * s, 1, math.MaxInt32, []time.Duration{1000 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Retry{MinBackoff: tt.min, MaxBackoff: tt.max, MaxDoublings: tt.doublings}
			var got []time.Duration
			for i := range tt.want {
				got = append(got, r.Backoff(tt.first+i))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("delays (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackoffGrowsWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Int64Range(0, math.MaxInt64).Draw(t, "min")
		r := Retry{
			MinBackoff:   time.Duration(low),
			MaxBackoff:   time.Duration(rapid.Int64Range(low, math.MaxInt64).Draw(t, "max")),
			MaxDoublings: rapid.IntRange(0, math.MaxInt32).Draw(t, "doublings"),
		}
		n := rapid.IntRange(1, math.MaxInt32-1).Draw(t, "attempts")
		one, two := r.Backoff(n), r.Backoff(n+1)
		if one < r.MinBackoff || two < one || two > r.MaxBackoff {
			t.Fatalf("%+v: %v after %d attempts, then %v", r, one, n, two)
		}
	})
}

func TestExhausted(t *testing.T) {
	for _, tt := range []struct {
		name     string
		attempts int
		limit    time.Duration
		// Of the attempts made and the time since the first, in turn: neither,
		// attempts only, time only, both.
		want [4]bool
	}{
		{"both limits: both must be passed", 3, time.Minute, [4]bool{false, false, false, true}},
		{"attempts only", 3, 0, [4]bool{false, true, false, true}},
		{"duration only", -1, time.Minute, [4]bool{false, false, true, true}},
		{"neither", -1, 0, [4]bool{false, false, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Retry{MaxAttempts: tt.attempts, MaxDuration: tt.limit}
			got := [4]bool{
				r.Exhausted(2, time.Minute-1), r.Exhausted(3, time.Minute-1),
				r.Exhausted(2, time.Minute), r.Exhausted(3, time.Minute),
			}
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
