package memcached

import (
	"cmp"
	"net"
	"slices"
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
	MaxBytes int64 // their bound: that of Options, or what cache_memlimit made of it

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
	MetaDebugs             uint64 // me, the only command that the protocol's cmd_meta counts
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
	st.Items, st.Bytes, st.MaxBytes = len(c.items), c.bytes, c.maxBytes
	st.GetHits, st.GetMisses = n.getHits, n.getMisses
	st.GetExpired, st.GetFlushed = n.getExpired, n.getFlushed
	st.Sets, st.TotalItems = n.sets, n.totalItems
	st.DeleteHits, st.DeleteMisses = n.deleteHits, n.deleteMisses
	st.IncrHits, st.IncrMisses = n.incrHits, n.incrMisses
	st.DecrHits, st.DecrMisses = n.decrHits, n.decrMisses
	st.CASHits, st.CASMisses, st.CASBadval = n.casHits, n.casMisses, n.casBadval
	st.TouchHits, st.TouchMisses = n.touchHits, n.touchMisses
	st.MetaDebugs, st.Flushes = n.metaDebugs, n.flushes
	st.TooLarge, st.NoMemory = n.tooLarge, n.noMemory
	st.Evictions, st.EvictedUnfetched = n.evictions, n.evictedUnfetched
	st.ExpiredUnfetched = n.expiredUnfetched
}

// A peer is a listener or a connection, for stats conns.
type peer struct {
	id    uint64
	addr  net.Addr
	at    net.Addr // our end; nil for a listener
	state string
	used  int64 // second in which something was received
}

// peers lists what is open, in order of age. caller is the connection that asks.
func (s *Server) peers(caller *conn) []peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cache.clock.now()
	var peers []peer
	for l, id := range s.listeners {
		peers = append(peers, peer{id: id, addr: l.Addr(), state: "conn_listening", used: now})
	}
	for c, id := range s.conns {
		state := "conn_read"
		if c == caller {
			state = "conn_parse_cmd"
		}
		peers = append(peers, peer{id: id, addr: c.nc.RemoteAddr(), at: c.nc.LocalAddr(), state: state, used: c.used.Load()})
	}
	slices.SortFunc(peers, func(a, b peer) int { return cmp.Compare(a.id, b.id) })
	return peers
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
