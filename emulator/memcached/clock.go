package memcached

import (
	"time"

	"github.com/latchwork/latchwork/emulator/internal/clock"
)

// relativeMax is the largest expiration read as a number of seconds from now;
// anything above it is an absolute Unix time.
const relativeMax = 60 * 60 * 24 * 30

// epochAge is how long before its start the real server's count of seconds
// begins.
const epochAge = 62

// A ticker counts whole seconds, as the real server does: it ticks on the
// second, so that an entry set for N seconds lives between N-1 and N. Steps of
// the wall clock don't move it; freezing and advancing the suite's clock does.
type ticker struct {
	clock *clock.Clock
	start time.Time // carries the monotonic reading that now builds on
}

func newTicker(c *clock.Clock) ticker { return ticker{clock: c, start: c.Now()} }

// now returns the current second, near Unix time.
func (c ticker) now() int64 {
	sinceTick := time.Duration(c.start.Nanosecond()) + c.clock.Since(c.start)
	return c.start.Unix() + int64(sinceTick/time.Second)
}

// longAgo is a second in which every entry has already expired: the first that
// the real server knows.
func (c ticker) longAgo() int64 { return c.start.Unix() - epochAge + 1 }

// deadline turns an expiration of the protocol into the second from which on
// the entry is gone, as seen from the second now; 0 means never.
func (c ticker) deadline(now int64, exptime int32) int64 {
	switch e := int64(exptime); {
	case e == 0:
		return 0
	case e < 0:
		return c.longAgo()
	case e <= relativeMax:
		return now + e
	case e < c.longAgo():
		return c.longAgo()
	default:
		return e
	}
}
