package memlock

import (
	"context"
	"time"
)

// LeaseTimes are the times that a lease reckons with, after its first refresh, which
// it makes at once.
func LeaseTimes(ctx context.Context, s Store) map[string]time.Time {
	h := &lease{Locker: New(s, nil), parent: ctx, key: "k", clientID: "a", stored: "k", owner: "a"}
	if err := h.acquire(); err != nil {
		panic(err)
	}
	defer h.finish()
	h.agenda.remove(h)
	first := h.end
	h.tick()
	return map[string]time.Time{"the acquisition": h.acquired, "the first end": first, "the next end": h.end}
}
