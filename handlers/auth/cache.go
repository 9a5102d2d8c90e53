package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxCached bounds the cache. Only verified tokens enter it, so strangers
// cannot fill it, and a queue uses one token for most of an hour.
const maxCached = 1000

// cache remembers the callers of verified tokens until the tokens expire. It
// holds the tokens' hashes, never the tokens.
type cache struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]cached
}

type cached struct {
	caller  Caller
	expires int64 // Unix seconds
}

func (c *cache) get(key [sha256.Size]byte, now time.Time) (Caller, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || e.expires <= now.Unix() {
		return Caller{}, false
	}
	return e.caller, true
}

// put makes room when the cache is full: what has expired goes first, and
// failing that any entry, whose token is simply verified again.
func (c *cache) put(key [sha256.Size]byte, e cached, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[[sha256.Size]byte]cached)
	}
	if len(c.entries) >= maxCached {
		for k, old := range c.entries {
			if old.expires <= now.Unix() {
				delete(c.entries, k)
			}
		}
	}
	if len(c.entries) >= maxCached {
		for k := range c.entries {
			delete(c.entries, k)
			break
		}
	}
	c.entries[key] = e
}
