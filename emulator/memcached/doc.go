// Package memcached is a memcached server in memory: the ASCII protocol as the
// real server of version 1.6 speaks it, answer by answer, for programs that
// need one nearby: tests, a laptop, the emulator suite. Any client of the
// protocol can talk to it; gomemcache is the one that its tests use.
//
// Commands: get, gets, gat, gats, set, add, replace, append, prepend, cas, incr,
// decr, touch, delete, flush_all, cache_memlimit, stats, version, verbosity and
// quit, with noreply and pipelining; and the meta commands mg, ms, md, ma, me and
// mn, with all flags of the version that Version names.
//
// # Guarantees
//
//   - Answers are the real server's to the byte, for well-formed commands and
//     for malformed ones, and so is what is read as data and what as the next
//     command. The transcripts in testdata and generated streams of commands
//     are compared with the real server wherever it is installed.
//   - Each command is atomic, and all connections see them in one order. A cas id
//     is never given twice.
//   - Expiration has the real server's whole seconds: an entry set for N lives
//     between N-1 and N seconds, 0 is never, a negative one is at once, and
//     more than 30 days is a Unix time. Time is Options.Clock, by default
//     time.Now, so that all of this runs on the fake clock of a testing/synctest
//     bubble. Whoever advances the clock past a time to live loses the entry: a
//     lock, too.
//   - Items never take more than Options.MaxBytes, keys and bookkeeping included.
//     The least recently used go first, and no value that is within
//     MaxItemBytes is refused in favour of older ones.
//   - No input crashes the server, stops it or makes it grow: lines, values,
//     connections and unfinished requests are bounded (see Failure modes).
//   - After Close nothing of the server runs.
//
// # Not guaranteed
//
//   - Nothing survives Close. An entry may be gone at any time: it is a cache.
//   - What belongs to the real server's own engine is not there: slab classes,
//     segmented LRU, the crawler, watchers, extstore. Their commands are refused
//     as by a server that was started without, and stats lists the figures
//     that exist here. cache_memlimit lowers MaxBytes for a while, and raises it
//     no further than it was. Nor is there the binary protocol (such connections
//     are closed), UDP, TLS and SASL, or a way to turn shutdown on.
//   - Where the real server contradicts itself we don't follow: entries that
//     flush_all has removed stay removed when another flush_all with a delay
//     comes; a key that is too long in a multiget doesn't swallow the answers to
//     earlier pipelined commands, and touches none of its neighbours; a number
//     of 2^63 or more stays one whatever lies in memory behind it; and a shorter
//     result of decr or ma is padded even while answers to mg are on their way.
//   - The time since the last use (l and la) is exact here. The real server notes
//     some uses a second late.
//
// # Failure modes
//
//   - More than MaxConns connections: the newcomer reads "ERROR Too many open
//     connections" and is closed.
//   - A value above MaxItemBytes: "SERVER_ERROR object too large for cache"; its
//     data is skipped, and a set deletes what it would have replaced.
//   - More than MaxBytes of values and lines that clients have begun and not
//     finished: "SERVER_ERROR out of memory storing object", handled likewise, or
//     "SERVER_ERROR out of memory reading request" and the connection is closed.
//   - A line of more than 2 KiB whose end hasn't come: the connection is closed.
//     A get or gets may go on to 4 MiB.
//   - A client that doesn't read its answers waits, and with it only its own
//     connection; what it holds is at most one value that was evicted meanwhile.
//   - An HTTP request, from a web page say: the connection is closed unanswered.
package memcached
