package engine

import "time"

// The model of the service's own throttling. The real one is not published
// beyond its causes (answers 429 and 503, a high rate of errors, Retry-After),
// so this one is off unless Options.Throttle is set.
const (
	slowStep      = time.Second // the rate is halved, or raised again, at most once in this time
	slowest       = 7           // times that the rate is halved at most: to a 128th
	errorShare    = 0.5         // of the latest answers: above it any failure asks for less
	errorMemory   = 0.05        // the weight of the latest answer in that share
	maxRetryAfter = time.Hour
)

// throttle is a queue's own slowing down: its rate and burst are halved for each
// step in which an attempt asked for fewer, and doubled for each in which none
// did. A Retry-After beside delays the one task.
type throttle struct {
	halved int
	last   Micros  // step
	failed float64 // share of the latest attempts
}

// factor is what the rate is multiplied with.
func (h *throttle) factor() float64 { return 1 / float64(int(1)<<h.halved) }

// next is the time at which the factor may rise, or never.
func (h *throttle) next() Micros {
	if h.halved == 0 {
		return never
	}
	return h.last.Add(2 * slowStep)
}

// observe takes the result of an attempt into account, and reports whether the
// factor has changed.
func (h *throttle) observe(r Result, now Micros) (changed bool) {
	h.failed *= 1 - errorMemory
	if r.Done {
		return false
	}
	h.failed += errorMemory
	if !r.Slow && h.failed <= errorShare || h.halved == slowest || now.Sub(h.last) < slowStep && h.last <= now {
		return false
	}
	h.halved++
	h.last = now
	return true
}

// recover raises the factor for the time that has passed in peace, and reports
// whether it has changed.
func (h *throttle) recover(now Micros) (changed bool) {
	h.last = min(h.last, now) // the clock was set back
	for h.halved > 0 && now.Sub(h.last) >= 2*slowStep {
		h.halved--
		h.last = h.last.Add(slowStep)
		changed = true
	}
	return changed
}
