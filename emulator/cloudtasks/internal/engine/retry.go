package engine

import "time"

// Retry says when and how often a failed task is attempted again.
type Retry struct {
	MaxAttempts  int           // including the first; -1 is unlimited
	MaxDuration  time.Duration // since the first attempt; 0 is no constraint
	MinBackoff   time.Duration
	MaxBackoff   time.Duration
	MaxDoublings int
}

// Backoff returns the delay after the given number of failed attempts (from 1):
// MinBackoff, doubled MaxDoublings times, then growing linearly by the last
// doubled value, never more than MaxBackoff. The rule is that of
// google.cloud.tasks.v2.RetryConfig.max_doublings.
func (r Retry) Backoff(attempts int) time.Duration {
	delay := r.MinBackoff
	retry := max(attempts, 1) - 1
	for range min(retry, r.MaxDoublings) {
		if delay == 0 {
			return 0
		}
		if delay >= r.MaxBackoff-delay {
			return r.MaxBackoff
		}
		delay *= 2
	}
	if linear := retry - r.MaxDoublings; linear > 0 && delay > 0 {
		if int64(linear) >= int64(r.MaxBackoff/delay) {
			return r.MaxBackoff
		}
		delay *= time.Duration(linear + 1)
	}
	return min(delay, r.MaxBackoff)
}

// Exhausted reports whether a task that has just failed is given up: attempts
// are used up and the duration has passed, where each of the two counts only
// when it is limited. With neither limited, only the retention ends a task.
func (r Retry) Exhausted(attempts int, sinceFirst time.Duration) bool {
	attemptsUsed := attempts >= r.MaxAttempts
	durationPassed := sinceFirst >= r.MaxDuration
	switch {
	case r.MaxAttempts < 0 && r.MaxDuration <= 0:
		return false
	case r.MaxAttempts < 0:
		return durationPassed
	case r.MaxDuration <= 0:
		return attemptsUsed
	}
	return attemptsUsed && durationPassed
}
