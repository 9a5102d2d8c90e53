package memcached

import (
	"fmt"
	"os"
	"time"
)

// Version is the version of memcached whose behaviour the server reproduces
// and which it gives as its own.
const Version = "1.6.18"

// Stats is a snapshot of a server's counters, for people and the console.
// Counters count since the start or the last "stats reset".
type Stats struct {
	Version string
	Uptime  time.Duration

	Items    int   // entries held, dead ones that nobody has met yet included
	Bytes    int64 // memory of these entries, keys and bookkeeping included
	MaxBytes int64 // their bound

	MaxItemBytes int
	MaxConns     int

	Conns         int    // open now
	TotalConns    uint64 // accepted since the start
	RejectedConns uint64 // turned away because MaxConns were open

	GetHits, GetMisses     uint64
	GetExpired, GetFlushed uint64 // misses whose entry was there, but dead
	Sets                   uint64 // set, add, replace, append, prepend and cas that reached the store
	TotalItems             uint64 // of these, the ones that stored something
	DeleteHits             uint64
	DeleteMisses           uint64
	IncrHits, IncrMisses   uint64
	DecrHits, DecrMisses   uint64
	CASHits, CASMisses     uint64
	CASBadval              uint64 // cas refused because the entry had changed
	TouchHits, TouchMisses uint64
	Flushes                uint64
	TooLarge, NoMemory     uint64 // values refused
	Evictions              uint64
	EvictedUnfetched       uint64
	ExpiredUnfetched       uint64

	BytesRead, BytesWritten uint64
}

// Stats returns a snapshot. It may be called at any time.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	st := Stats{
		Version:       Version,
		Uptime:        time.Since(s.start),
		MaxBytes:      s.opts.MaxBytes,
		MaxItemBytes:  s.opts.MaxItemBytes,
		MaxConns:      s.opts.MaxConns,
		Conns:         len(s.conns),
		TotalConns:    s.total,
		RejectedConns: s.rejected,
		BytesRead:     s.bytesRead.Load(),
		BytesWritten:  s.bytesWritten.Load(),
	}
	s.mu.Unlock()
	s.cache.snapshot(&st)
	return st
}

func (c *cache) snapshot(st *Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &c.count
	st.Items, st.Bytes = len(c.items), c.bytes
	st.GetHits, st.GetMisses = n.getHits, n.getMisses
	st.GetExpired, st.GetFlushed = n.getExpired, n.getFlushed
	st.Sets, st.TotalItems = n.sets, n.totalItems
	st.DeleteHits, st.DeleteMisses = n.deleteHits, n.deleteMisses
	st.IncrHits, st.IncrMisses = n.incrHits, n.incrMisses
	st.DecrHits, st.DecrMisses = n.decrHits, n.decrMisses
	st.CASHits, st.CASMisses, st.CASBadval = n.casHits, n.casMisses, n.casBadval
	st.TouchHits, st.TouchMisses = n.touchHits, n.touchMisses
	st.Flushes = n.flushes
	st.TooLarge, st.NoMemory = n.tooLarge, n.noMemory
	st.Evictions, st.EvictedUnfetched = n.evictions, n.evictedUnfetched
	st.ExpiredUnfetched = n.expiredUnfetched
}

func (s *Server) resetStats() {
	s.bytesRead.Store(0)
	s.bytesWritten.Store(0)
	s.mu.Lock()
	s.total, s.rejected = 0, 0
	s.mu.Unlock()
	s.cache.mu.Lock()
	s.cache.count = counters{}
	s.cache.mu.Unlock()
}

// stats answers stats and its subcommands, as far as their figures exist here.
// Slab classes don't, so that stats items and stats slabs have nothing to list.
func (c *conn) stats() {
	st := c.s.Stats()
	sub := ""
	if len(c.args) > 1 {
		sub = string(c.args[1])
	}
	switch sub {
	case "":
		c.generalStats(st)
	case "settings":
		c.stat("maxbytes", st.MaxBytes)
		c.stat("maxconns", st.MaxConns)
		c.stat("evictions", "on")
		c.stat("shutdown_command", "no")
		c.stat("cas_enabled", "yes")
		c.stat("auth_enabled_sasl", "no")
		c.stat("auth_enabled_ascii", "no")
		c.stat("item_size_max", st.MaxItemBytes)
		c.stat("maxconns_fast", "yes")
		c.stat("flush_enabled", "yes")
		c.stat("idle_timeout", 0)
		c.stat("ssl_enabled", "no")
	case "items":
	case "slabs":
		c.stat("active_slabs", 0)
		c.stat("total_malloced", st.Bytes)
	case "sizes":
		c.stat("sizes_status", "disabled")
	case "reset":
		c.s.resetStats()
		c.reply("RESET")
		return
	default:
		c.reply(replyError)
		return
	}
	c.reply("END")
}

func (c *conn) generalStats(st Stats) {
	c.stat("pid", os.Getpid())
	c.stat("uptime", int64(st.Uptime/time.Second))
	c.stat("time", c.s.cache.clock.now())
	c.stat("version", st.Version)
	c.stat("pointer_size", 64)
	c.stat("max_connections", st.MaxConns)
	c.stat("curr_connections", st.Conns)
	c.stat("total_connections", st.TotalConns)
	c.stat("rejected_connections", st.RejectedConns)
	c.stat("cmd_get", st.GetHits+st.GetMisses)
	c.stat("cmd_set", st.Sets)
	c.stat("cmd_flush", st.Flushes)
	c.stat("cmd_touch", st.TouchHits+st.TouchMisses)
	c.stat("get_hits", st.GetHits)
	c.stat("get_misses", st.GetMisses)
	c.stat("get_expired", st.GetExpired)
	c.stat("get_flushed", st.GetFlushed)
	c.stat("delete_misses", st.DeleteMisses)
	c.stat("delete_hits", st.DeleteHits)
	c.stat("incr_misses", st.IncrMisses)
	c.stat("incr_hits", st.IncrHits)
	c.stat("decr_misses", st.DecrMisses)
	c.stat("decr_hits", st.DecrHits)
	c.stat("cas_misses", st.CASMisses)
	c.stat("cas_hits", st.CASHits)
	c.stat("cas_badval", st.CASBadval)
	c.stat("touch_hits", st.TouchHits)
	c.stat("touch_misses", st.TouchMisses)
	c.stat("store_too_large", st.TooLarge)
	c.stat("store_no_memory", st.NoMemory)
	c.stat("bytes_read", st.BytesRead)
	c.stat("bytes_written", st.BytesWritten)
	c.stat("limit_maxbytes", st.MaxBytes)
	c.stat("accepting_conns", 1)
	c.stat("threads", 1)
	c.stat("bytes", st.Bytes)
	c.stat("curr_items", st.Items)
	c.stat("total_items", st.TotalItems)
	c.stat("expired_unfetched", st.ExpiredUnfetched)
	c.stat("evicted_unfetched", st.EvictedUnfetched)
	c.stat("evictions", st.Evictions)
}

func (c *conn) stat(name string, value any) {
	c.reply(fmt.Sprintf("STAT %s %v", name, value))
}
