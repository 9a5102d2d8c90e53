package memlock_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/memcached"
	"github.com/latchwork/latchwork/memlock"
)

// BenchmarkLock compares a lock that is taken and released with the bare calls
// of gomemcache that this makes: on keys that are fresh (add, gets, cas), and on
// one that was released a moment ago (add, gets, cas, gets, cas).
//
// Other load on the machine moves the figures of "bare" and "memlock", which
// run one after the other. "ratio" runs them in turns, a few at a time, and
// reports the median of memlock's time over bare's: the figure to quote.
func BenchmarkLock(b *testing.B) {
	for _, server := range []struct {
		name  string
		start func(testing.TB) string
	}{
		{"memcached", startMemcached},
		{"embedded", startEmbedded},
	} {
		b.Run(server.name, func(b *testing.B) {
			client := newClient(b, server.start(b))
			b.Cleanup(func() { client.Close() })
			locker := memlock.New(memlock.NewMemcacheStore(client, nil), nil)
			ctx, cancel := context.WithCancel(b.Context()) // as of a request
			b.Cleanup(cancel)

			bare := &bareLock{client: client, value: []byte("client-1~0123456789abcdef")}
			lock := func(key string) error { return locker.TryWithLock(ctx, key, "client-1", nop) }
			for _, keys := range []struct {
				name string
				bare func(string) error
				next func() string
			}{
				{"fresh", bare.fresh, freshKeys()},
				{"again", bare.again, oneKey()},
			} {
				b.Run(keys.name+"/bare", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						check(b, keys.bare(keys.next()))
					}
				})
				b.Run(keys.name+"/memlock", func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						check(b, lock(keys.next()))
					}
				})
				b.Run(keys.name+"/ratio", func(b *testing.B) {
					const batch = 10
					spent := func(f func(string) error) time.Duration {
						start := time.Now()
						for range batch {
							check(b, f(keys.next()))
						}
						return time.Since(start)
					}
					var ratios []float64
					for b.Loop() {
						x, y := spent(keys.bare), spent(lock)
						ratios = append(ratios, float64(y)/float64(x))
					}
					b.ReportMetric(0, "ns/op") // of both, a batch each: means nothing
					b.ReportMetric(median(ratios), "memlock/bare")
				})
			}
		})
	}
}

func median[T cmp.Ordered](s []T) T {
	slices.Sort(s)
	return s[len(s)/2]
}

func freshKeys() func() string {
	prefix, n := fmt.Sprintf("bench.%d.", time.Now().UnixNano()), 0
	return func() string { n++; return prefix + strconv.Itoa(n) }
}

func oneKey() func() string {
	key := freshKeys()()
	return func() string { return key }
}

// bareLock makes the calls of a lock, and nothing else.
type bareLock struct {
	client *memcache.Client
	value  []byte
}

func (l *bareLock) fresh(key string) error {
	key = "memlock:" + key
	if err := l.client.Add(&memcache.Item{Key: key, Value: l.value, Expiration: 17}); err != nil {
		return err
	}
	return l.write(key, nil, 1)
}

func (l *bareLock) again(key string) error {
	key = "memlock:" + key
	for {
		err := l.client.Add(&memcache.Item{Key: key, Value: l.value, Expiration: 17})
		if err == memcache.ErrNotStored {
			err = l.write(key, l.value, 17)
		}
		switch err {
		case nil:
			return l.write(key, nil, 1)
		case memcache.ErrCacheMiss: // the empty entry has just run out
		default:
			return err
		}
	}
}

func (l *bareLock) write(key string, value []byte, expiration int32) error {
	item, err := l.client.Get(key)
	if err != nil {
		return err
	}
	item.Value, item.Expiration = value, expiration
	return l.client.CompareAndSwap(item)
}

// startEmbedded serves our memcached on a loopback port.
func startEmbedded(tb testing.TB) string {
	tb.Helper()
	server, err := memcached.New(nil)
	check(tb, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(tb, err)
	go server.Serve(l)
	tb.Cleanup(func() { server.Close() })
	return l.Addr().String()
}
