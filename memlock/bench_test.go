package memlock_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/memlock"
)

// BenchmarkLock compares acquire + release with the bare gomemcache calls that
// they make, on keys that nobody has locked before and on one that was released
// a moment ago.
func BenchmarkLock(b *testing.B) {
	for _, server := range []struct {
		name  string
		start func(testing.TB) string
	}{
		{"memcached", startMemcached},
	} {
		b.Run(server.name, func(b *testing.B) {
			client, err := memlock.NewMemcacheClient(server.start(b))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { client.Close() })
			locker := memlock.New(memlock.NewMemcacheStore(client, nil), nil)
			nop := func(context.Context) error { return nil }
			value := []byte("client-1~0123456789abcdef")

			b.Run("fresh/bare", func(b *testing.B) {
				prefix := "memlock:" + unique()
				for i := 0; b.Loop(); i++ {
					key := prefix + strconv.Itoa(i)
					check(b, client.Add(&memcache.Item{Key: key, Value: value, Expiration: 17}))
					item, err := client.Get(key)
					check(b, err)
					item.Value, item.Expiration = nil, 1
					check(b, client.CompareAndSwap(item))
				}
			})
			b.Run("fresh/memlock", func(b *testing.B) {
				prefix := unique()
				for i := 0; b.Loop(); i++ {
					check(b, locker.TryWithLock(b.Context(), prefix+strconv.Itoa(i), "client-1", nop))
				}
			})
			b.Run("again/bare", func(b *testing.B) {
				key := "memlock:" + unique()
				check(b, client.Add(&memcache.Item{Key: key, Expiration: 1}))
				for b.Loop() {
					if err := client.Add(&memcache.Item{Key: key, Value: value, Expiration: 17}); err != memcache.ErrNotStored {
						continue // the empty entry has run out: this call took the lock
					}
					item, err := client.Get(key)
					check(b, err)
					item.Value, item.Expiration = value, 17
					check(b, client.CompareAndSwap(item))
					item, err = client.Get(key)
					check(b, err)
					item.Value, item.Expiration = nil, 1
					check(b, client.CompareAndSwap(item))
				}
			})
			b.Run("again/memlock", func(b *testing.B) {
				key := unique()
				for b.Loop() {
					check(b, locker.TryWithLock(b.Context(), key, "client-1", nop))
				}
			})
		})
	}
}

func unique() string { return fmt.Sprintf("bench.%d.", time.Now().UnixNano()) }
