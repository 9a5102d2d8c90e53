package memcached

import (
	"cmp"
	"fmt"
	"log/slog"

	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/clock"
)

// Defaults and bounds of Options; the defaults are the real server's.
const (
	defaultMaxBytes     = 64 << 20
	defaultMaxItemBytes = 1 << 20
	defaultMaxConns     = 1024

	minMaxItemBytes = 1 << 10
	maxMaxItemBytes = 1 << 30
)

// Options configures a Server. The zero value, and nil, give the real
// server's defaults.
type Options struct {
	// MaxBytes bounds the memory held by stored items, their keys and the
	// bookkeeping of each included. Beyond it the least recently used items
	// are evicted. 0 means 64 MiB.
	MaxBytes int64

	// MaxItemBytes bounds one item, reckoned as the real server does: value
	// and key plus 59 bytes, plus 4 if its flags are not 0. It lies between
	// 1 KiB and 1 GiB and is at most half of MaxBytes. 0 means 1 MiB, or half
	// of MaxBytes where that is less.
	MaxItemBytes int

	// MaxConns bounds the connections served at once. One more is told
	// "ERROR Too many open connections" and closed. 0 means 1024.
	MaxConns int

	Clock *clock.Clock // of expiry; nil is the machine's
	Chaos *chaos.Chaos // evictions and outages; nil is none

	// Logger receives what a client can't be told, such as accept errors.
	// nil discards it.
	Logger *slog.Logger
}

// withDefaults returns o with every zero field replaced by its default, or an
// error that states the rule which a field breaks.
func (o *Options) withDefaults() (Options, error) {
	var r Options
	if o != nil {
		r = *o
	}
	r.MaxBytes = cmp.Or(r.MaxBytes, defaultMaxBytes)
	if r.MaxBytes < 2*minMaxItemBytes {
		return r, fmt.Errorf("memcached: MaxBytes is %d; it must be at least %d", r.MaxBytes, 2*minMaxItemBytes)
	}
	if r.MaxItemBytes == 0 {
		r.MaxItemBytes = int(min(defaultMaxItemBytes, r.MaxBytes/2))
	}
	if r.MaxItemBytes < minMaxItemBytes || r.MaxItemBytes > maxMaxItemBytes {
		return r, fmt.Errorf("memcached: MaxItemBytes is %d; it must lie between %d and %d",
			r.MaxItemBytes, minMaxItemBytes, maxMaxItemBytes)
	}
	if int64(r.MaxItemBytes) > r.MaxBytes/2 {
		return r, fmt.Errorf("memcached: MaxItemBytes is %d; it must be at most half of MaxBytes, which is %d",
			r.MaxItemBytes, r.MaxBytes)
	}
	r.MaxConns = cmp.Or(r.MaxConns, defaultMaxConns)
	if r.MaxConns < 1 {
		return r, fmt.Errorf("memcached: MaxConns is %d; it must be at least 1", r.MaxConns)
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	return r, nil
}
