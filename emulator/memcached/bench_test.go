package memcached_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/memcached"
)

// serverProcess makes the test binary a server on the given address instead of
// running tests, so that a benchmark can have ours in a process of its own.
const serverProcess = "LATCHWORK_MEMCACHED_BENCH_ADDR"

func TestMain(m *testing.M) {
	if addr := os.Getenv(serverProcess); addr != "" {
		if err := serveAlone(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveAlone(addr string) error {
	s, err := memcached.New(nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr) //nolint:noctx // there is nothing to cancel it
	if err != nil {
		return err
	}
	fmt.Println("listening")
	return s.Serve(l)
}

// startProcess runs ours in another process until the benchmark ends.
func startProcess(b *testing.B) string {
	b.Helper()
	addr := freePort(b)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverProcess+"="+addr)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := stdout.Read(make([]byte, len("listening"))); err != nil {
		b.Fatal(err)
	}
	return addr
}

// BenchmarkThroughGomemcache compares ours, in the client's process and in one
// of its own, with the real memcached, in one run: the ratios are what counts.
// Each operation is run by one caller and by 32.
func BenchmarkThroughGomemcache(b *testing.B) {
	const callers = 32
	value := []byte(strings.Repeat("v", 100))
	operations := []struct {
		name string
		run  func(c *memcache.Client, key string) error
	}{
		{"get", func(c *memcache.Client, _ string) error {
			_, err := c.Get("hit")
			return err
		}},
		{"set", func(c *memcache.Client, key string) error {
			return c.Set(&memcache.Item{Key: key, Value: value, Expiration: 16})
		}},
		{"add+delete", func(c *memcache.Client, key string) error {
			err := c.Add(&memcache.Item{Key: key, Value: value, Expiration: 16})
			return errors.Join(err, c.Delete(key))
		}},
	}
	servers := []struct {
		name  string
		start func(b *testing.B) string
	}{
		{"real", func(b *testing.B) string { b.Helper(); return startReal(b) }},
		{"ours", startProcess},
		{"ours-embedded", func(b *testing.B) string { b.Helper(); return serveTCP(b, nil) }},
	}
	for _, op := range operations {
		for _, parallel := range []int{1, callers} {
			for _, server := range servers {
				b.Run(fmt.Sprintf("%s/callers=%d/%s", op.name, parallel, server.name), func(b *testing.B) {
					addr := server.start(b)
					c := memcache.New(addr)
					c.MaxIdleConns = callers
					defer c.Close()
					if err := c.Set(&memcache.Item{Key: "hit", Value: value}); err != nil {
						b.Fatal(err)
					}
					if parallel == 1 {
						for b.Loop() {
							if err := op.run(c, "key"); err != nil {
								b.Fatal(err)
							}
						}
						return
					}
					var id atomic.Int64
					b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
					b.RunParallel(func(pb *testing.PB) {
						key := fmt.Sprintf("key-%d", id.Add(1))
						for pb.Next() {
							if err := op.run(c, key); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			}
		}
	}
}
