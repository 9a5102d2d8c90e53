package memlock_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
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
	me, err := user.Current()
	check(t, err)
	const attempts = 5 // somebody else may take the port that was free
	for range attempts {
		addr := freePort(t)
		_, port, _ := net.SplitHostPort(addr)
		// With -vv it says when it listens, and then logs every command: it is
		// told to stop that.
		cmd := exec.Command(program, "-vv", "-u", me.Username, "-l", "127.0.0.1", "-p", port, "-U", "0")
		stderr, err := cmd.StderrPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(stderr)
		listening := false
		for !listening && lines.Scan() {
			listening = strings.Contains(lines.Text(), "server listening")
		}
		if !listening {
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
		c, err := net.Dial("tcp", addr)
		check(t, err)
		_, err = io.WriteString(c, "verbosity 0\r\nquit\r\n")
		check(t, err)
		_, err = io.Copy(io.Discard, c) // until it has hung up
		check(t, err)
		c.Close()
		return addr
	}
	t.Fatalf("memcached did not listen in %d attempts", attempts)
	return ""
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
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
