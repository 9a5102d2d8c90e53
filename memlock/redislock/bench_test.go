package redislock_test

import (
	"testing"

	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/memlock/redislock"
)

func BenchmarkStore(b *testing.B) {
	b.Run("redis", func(b *testing.B) {
		s, err := redislock.New(newClient(b, startServer(b)), nil)
		check(b, err)
		memlocktest.BenchmarkStore(b, s)
	})
}
