package memlock_test

import (
	"testing"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

// `make bench-locks` runs this one of each store.
func BenchmarkStore(b *testing.B) {
	b.Run("memcached", func(b *testing.B) { benchmarkStore(b, startMemcached(b)) })
	b.Run("memcached stand-in", func(b *testing.B) { benchmarkStore(b, startEmbedded(b)) })
}

func benchmarkStore(b *testing.B, addr string) {
	client := newClient(b, addr)
	b.Cleanup(func() { client.Close() })
	memlocktest.BenchmarkStore(b, memlock.NewMemcacheStore(client, nil))
}
