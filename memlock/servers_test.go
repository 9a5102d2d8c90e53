package memlock_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/memcached"
	"github.com/latchwork/latchwork/internal/pipenet"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

const embeddedAddr = "127.0.0.1:11211"

// embedded is our memcached on an in-memory network, which a bubble can hold.
type embedded struct {
	t      testing.TB
	net    *pipenet.Network
	server *memcached.Server
	script *script
	client *memcache.Client // through script
	direct *memcache.Client // past it
}

func newEmbedded(t testing.TB) *embedded {
	e := &embedded{t: t, net: pipenet.New(), script: &script{}}
	e.client, e.direct = newClient(t, embeddedAddr), newClient(t, embeddedAddr)
	e.direct.DialContext = e.net.DialContext
	e.client.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := e.net.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &scriptedConn{Conn: c, script: e.script}, nil
	}
	t.Cleanup(func() { e.client.Close(); e.direct.Close() })
	e.start()
	t.Cleanup(e.stop)
	return e
}

func (e *embedded) start() {
	e.t.Helper()
	server, err := memcached.New(nil)
	check(e.t, err)
	l, err := e.net.Listen(embeddedAddr)
	check(e.t, err)
	go func() {
		if err := server.Serve(l); err != nil {
			e.t.Errorf("Serve: %v", err)
		}
	}()
	e.server = server
}

// stop ends the server, whose connections meet EOF.
func (e *embedded) stop() {
	e.t.Helper()
	check(e.t, e.server.Close())
}

// value is what is stored under key, and whether anything is.
func (e *embedded) value(key string) (string, bool) {
	e.t.Helper()
	item, err := e.direct.Get(key)
	if err == memcache.ErrCacheMiss {
		return "", false
	}
	check(e.t, err)
	return string(item.Value), true
}

func (e *embedded) set(key, value string) {
	e.t.Helper()
	check(e.t, e.direct.Set(&memcache.Item{Key: key, Value: []byte(value), Expiration: 60}))
}

func newClient(t testing.TB, addr string) *memcache.Client {
	t.Helper()
	c, err := memlock.NewMemcacheClient(addr)
	check(t, err)
	return c
}

// startMemcached runs the real memcached until the test ends, and returns its
// address.
func startMemcached(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("memcached")
	if err != nil {
		const missing = "memcached is not installed: nothing was tested against the real one (apt-get install memcached, or brew install memcached)"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip("SKIPPED: " + missing)
	}
	ports := filepath.Join(t.TempDir(), "ports")
	args := []string{"-l", "127.0.0.1", "-p", "-1", "-U", "0", "-m", "64", "-c", "1024"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root") // it refuses to be root by accident
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "MEMCACHED_PORT_FILENAME="+ports)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })

	for range 1000 { // it renames the file into place when it listens
		if b, err := os.ReadFile(ports); err == nil {
			for line := range strings.Lines(string(b)) {
				if port, ok := strings.CutPrefix(strings.TrimSpace(line), "TCP INET: "); ok {
					return net.JoinHostPort("127.0.0.1", port)
				}
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("memcached did not say which port it listens on")
	return ""
}

func check(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}

// harness is a Harness on a client of memcached, and one for the neighbours.
func harness(store memlock.Store, direct *memcache.Client) memlocktest.Harness {
	return memlocktest.Harness{
		Store: store,
		Steal: func(key, owner string) error {
			return direct.Set(&memcache.Item{Key: key, Value: []byte(owner), Expiration: 60})
		},
		Evict: func(key string) error {
			if err := direct.Delete(key); err != memcache.ErrCacheMiss {
				return err
			}
			return nil
		},
		Resolution: 2 * time.Second, // whole seconds, rounded up, plus one
	}
}

func TestMemcacheStoreConformsOnEmbeddedServer(t *testing.T) {
	memlocktest.TestStoreInBubble(t, func(t *testing.T) memlocktest.Harness {
		e := newEmbedded(t)
		h := harness(memlock.NewMemcacheStore(e.client, nil), e.direct)
		h.Wait = time.Sleep
		return h
	})
}

func TestMemcacheStoreConformsOnRealMemcached(t *testing.T) {
	addr := startMemcached(t)
	memlocktest.TestStore(t, func(t *testing.T) memlocktest.Harness {
		c, direct := newClient(t, addr), newClient(t, addr)
		t.Cleanup(func() { c.Close(); direct.Close() })
		return harness(memlock.NewMemcacheStore(c, nil), direct)
	})
}

func TestContentionOnRealMemcached(t *testing.T) {
	client := newClient(t, startMemcached(t))
	t.Cleanup(func() { client.Close() })
	l := memlock.New(memlock.NewMemcacheStore(client, nil), nil)
	for range 10 {
		var wg, tried sync.WaitGroup
		var runs, busy atomic.Int64
		tried.Add(16)
		for i := range 16 {
			wg.Go(func() {
				err := l.TryWithLock(t.Context(), "shard", fmt.Sprint("delivery", i), func(context.Context) error {
					runs.Add(1)
					tried.Done()
					tried.Wait()
					return nil
				})
				switch err {
				case nil:
				case memlock.ErrFailedToLock:
					busy.Add(1)
					tried.Done()
				default:
					t.Errorf("TryWithLock: %v", err)
					tried.Done()
				}
			})
		}
		wg.Wait()
		if runs.Load() != 1 || busy.Load() != 15 {
			t.Fatalf("%d ran and %d were busy, want 1 and 15", runs.Load(), busy.Load())
		}
	}
}
