package memlocktest

import (
	"io"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/latchwork/latchwork/memlock"
)

// BenchmarkStore measures a lock that is taken and released, one that is found
// busy, and a refresh. Other load on the machine moves times, so that each is
// run in turns with bare round trips over loopback, a few at a time: "roundtrips"
// is the median of the one over the other, the figure to compare stores by.
func BenchmarkStore(b *testing.B, s memlock.Store) {
	roundTrip := startEcho(b)
	prefix, n := "memlocktest-bench:"+strconv.FormatInt(time.Now().UnixNano(), 36)+":", 0
	key := func() string { n++; return prefix + strconv.Itoa(n) }
	acquire := func(key, owner, want string) {
		if holder, err := s.Acquire(b.Context(), key, owner, long); err != nil || holder != want {
			b.Fatalf("Acquire = %q, %v, want %q", holder, err, want)
		}
	}
	release := func(key string) {
		if err := s.Release(b.Context(), key, "a"); err != nil {
			b.Fatalf("Release: %v", err)
		}
	}
	held := prefix + "held"
	acquire(held, "a", "")
	defer release(held)
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"acquire+release", func() { k := key(); acquire(k, "a", ""); release(k) }},
		{"busy", func() { acquire(held, "b", "a") }},
		{"extend", func() {
			if ours, err := s.Extend(b.Context(), held, "a", long); err != nil || !ours {
				b.Fatalf("Extend = %v, %v", ours, err)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			const batch = 4
			spent := func(f func()) time.Duration {
				start := time.Now()
				for range batch {
					f()
				}
				return time.Since(start)
			}
			var ratios []float64
			for b.Loop() {
				ratios = append(ratios, float64(spent(c.do))/float64(spent(roundTrip)))
			}
			slices.Sort(ratios)
			b.ReportMetric(0, "ns/op") // of both, a batch each: means nothing
			b.ReportMetric(ratios[len(ratios)/2], "roundtrips")
		})
	}
}

// startEcho returns a function that sends a few bytes over loopback and waits
// until they are back.
func startEcho(b *testing.B) func() {
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.Copy(conn, conn) // until the other side hangs up
			conn.Close()
		}
	}()
	conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	buf := make([]byte, 64)
	return func() {
		if _, err := conn.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			b.Fatal(err)
		}
	}
}
