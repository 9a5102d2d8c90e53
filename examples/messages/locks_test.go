package messages

import (
	"context"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/memlock"
)

// locks is where the workers keep their locks, with what a test can do to them.
type locks interface {
	store() memlock.Store
	cache() Cache                   // nil where there is none
	steal(t testing.TB, key string) // for somebody else, for 10 s
	evict(t testing.TB, key string)
	down(yes bool) // out of the workers' reach
}

func (b backend) newLocks(t testing.TB, e *emulatortest.Env, d *disorder) locks {
	t.Helper()
	if b.locks == realMemcached {
		socket := startMemcached(t)
		client, err := memlock.NewMemcacheClient(socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		l := &memcachedLocks{client, fault.NewDialer(d.dialer(new(net.Dialer).DialContext), nil)}
		client.DialContext = l.dialer.DialContext
		return l
	}
	dialer := fault.NewDialer(e.Net.DialContext, nil)
	return &memcachedLocks{e.NewMemcacheClient(dialer.DialContext), dialer}
}

// memcachedLocks are in memcached, ours or the real one.
type memcachedLocks struct {
	client *memcache.Client
	dialer *fault.Dialer
}

func (l *memcachedLocks) store() memlock.Store { return memlock.NewMemcacheStore(l.client, nil) }
func (l *memcachedLocks) cache() Cache         { return l.client }

func (l *memcachedLocks) steal(t testing.TB, key string) {
	if err := l.client.Set(&memcache.Item{Key: key, Value: []byte("thief"), Expiration: 10}); err != nil {
		t.Fatal(err)
	}
}

func (l *memcachedLocks) evict(t testing.TB, key string) {
	if err := l.client.Delete(key); err != nil {
		t.Fatal(err)
	}
}

func (l *memcachedLocks) down(yes bool) {
	l.dialer.Refuse(yes)
	if yes {
		l.dialer.Cut()
	}
}

// startMemcached runs the real memcached until the test ends, and returns its
// socket.
func startMemcached(t testing.TB) string {
	t.Helper()
	me, err := osuser.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "memcached-") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	program, err := exec.LookPath("memcached")
	if err != nil {
		t.Fatalf("-locks=memcached: %v (apt-get install memcached, or brew install memcached)", err)
	}
	// It ends when its standard input does, even if this process is killed.
	cmd := exec.Command("sh", "-c", `"$@" & cat; kill -9 $!`, "sh", program, "-u", me.Username, "-s", socket, "-U", "0")
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = alive.Close()
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := new(net.Dialer).DialContext(ctx, "unix", socket); err == nil {
			_ = c.Close()
			return socket
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("memcached does not listen")
		}
	}
}
