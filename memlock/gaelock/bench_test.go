package gaelock_test

import (
	"net"
	"net/http/httptest"
	"testing"

	"github.com/latchwork/latchwork/memlock/gaelock"
	"github.com/latchwork/latchwork/memlock/gaelock/internal/apiserver"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

// The stand-in is made for tests: what this shows is what the SDK costs at least.
func BenchmarkStore(b *testing.B) {
	b.Run("gae stand-in", func(b *testing.B) {
		server := httptest.NewServer(apiserver.New())
		b.Cleanup(server.Close)
		host, port, err := net.SplitHostPort(server.Listener.Addr().String())
		check(b, err)
		b.Setenv("API_HOST", host)
		b.Setenv("API_PORT", port)
		s, err := gaelock.New(nil)
		check(b, err)
		memlocktest.BenchmarkStore(b, s)
	})
}
