package redislock_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/memlock/redislock"
)

func newStore(t *testing.T, c redis.UniversalClient) *redislock.Store {
	t.Helper()
	s, err := redislock.New(c, nil)
	check(t, err)
	return s
}

func newClient(t testing.TB, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { c.Close() })
	return c
}

// harness has the hands of others, who use the same client.
func harness(t *testing.T, c redis.UniversalClient) memlocktest.Harness {
	return memlocktest.Harness{
		Store: newStore(t, c),
		Steal: func(key, owner string) error { return c.Set(context.Background(), key, owner, time.Minute).Err() },
		Evict: func(key string) error { return c.Del(context.Background(), key).Err() },
	}
}

func TestConformsInProcess(t *testing.T) {
	memlocktest.TestStore(t, func(t *testing.T) memlocktest.Harness {
		m := miniredis.RunT(t)
		h := harness(t, newClient(t, m.Addr()))
		h.Wait = m.FastForward // its clock stands still otherwise
		return h
	})
}

func TestConformsOnRealServer(t *testing.T) {
	addr := startServer(t)
	memlocktest.TestStore(t, func(t *testing.T) memlocktest.Harness { return harness(t, newClient(t, addr)) })
}

// startServer runs Redis, or else Valkey, until the test ends.
func startServer(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		program, err = exec.LookPath("valkey-server")
	}
	if err != nil {
		const missing = "neither redis-server nor valkey-server is installed: nothing was tested against a real one (apt-get install redis-server, or brew install redis)"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip("SKIPPED: " + missing)
	}
	const attempts = 5 // somebody else may take the port that was free
	for range attempts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		addr := l.Addr().String()
		l.Close()
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
		stdout, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		ready := false
		for !ready && lines.Scan() {
			ready = strings.Contains(strings.ToLower(lines.Text()), "ready to accept connections")
		}
		if !ready {
			cmd.Wait()
			continue
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for lines.Scan() {
			}
		}()
		t.Cleanup(func() {
			cmd.Process.Kill()
			<-drained
			cmd.Wait()
		})
		return addr
	}
	t.Fatalf("%s did not listen in %d attempts", program, attempts)
	return ""
}

func check(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}
