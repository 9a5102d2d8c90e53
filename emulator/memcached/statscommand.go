package memcached

import (
	"fmt"
	"net"
	"os"
	"time"
)

// stats answers stats and its subcommands, as far as their figures exist here:
// nothing is kept by slab class or by prefix, and keys aren't listed.
func (c *conn) stats() {
	sub := ""
	if len(c.args) > 1 {
		sub = string(c.args[1])
	}
	switch sub {
	case "":
		c.generalStats(c.s.Stats())
	case "settings":
		c.settings(c.s.Stats())
	case "conns":
		c.connStats()
	case "items":
	case "slabs":
		c.stat("active_slabs", 0)
		c.stat("total_malloced", c.s.Stats().Bytes)
	case "sizes":
		c.stat("sizes_status", "disabled")
	case "sizes_disable": // this and the next without END, as the real server
		c.stat("sizes_status", "disabled")
		return
	case "sizes_enable":
		c.stat("sizes_status", "error")
		c.stat("sizes_error", "not_supported")
		return
	case "cachedump":
		c.reply("CLIENT_ERROR stats cachedump not allowed")
		return
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

func (c *conn) settings(st Stats) {
	c.stat("maxbytes", st.MaxBytes)
	c.stat("maxconns", st.MaxConns)
	c.stat("udpport", 0)
	c.stat("evictions", "on")
	c.stat("shutdown_command", "no")
	c.stat("detail_enabled", "no")
	c.stat("cas_enabled", "yes")
	c.stat("auth_enabled_sasl", "no")
	c.stat("auth_enabled_ascii", "no")
	c.stat("item_size_max", st.MaxItemBytes)
	c.stat("maxconns_fast", "yes")
	c.stat("slab_reassign", "no")
	c.stat("lru_crawler", "no")
	c.stat("flush_enabled", "yes")
	c.stat("dump_enabled", "no")
	c.stat("lru_maintainer_thread", "no")
	c.stat("lru_segmented", "no")
	c.stat("idle_timeout", 0)
	c.stat("track_sizes", "no")
	c.stat("ssl_enabled", "no")
}

// connStats lists listeners and connections by number, where the real server
// has the number of a file.
func (c *conn) connStats() {
	for _, p := range c.s.peers(c) {
		name := func(what string) string { return fmt.Sprintf("%d:%s", p.id, what) }
		c.stat(name("addr"), address(p.addr))
		if p.at != nil {
			c.stat(name("listen_addr"), address(p.at))
		}
		c.stat(name("state"), p.state)
		c.stat(name("secs_since_last_cmd"), max(0, c.s.cache.clock.now()-p.used))
	}
}

func address(a net.Addr) string { return a.Network() + ":" + a.String() }

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
	c.stat("cmd_meta", st.MetaDebugs)
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
