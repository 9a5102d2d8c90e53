package messages

import (
	"context"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/bradfitz/gomemcache/memcache"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/datastorelock"
)

// locks is where the workers keep their locks, with what a test can do to them.
type locks interface {
	store() memlock.Store
	options() memlock.Options       // that suit the store
	cache() Cache                   // nil where there is none
	steal(t testing.TB, key string) // for somebody else, for 10 s
	evict(t testing.TB, key string)
	down(yes bool) // out of the workers' reach
}

func (c *cloud) newLocks() locks {
	c.t.Helper()
	switch c.backend.locks {
	case realMemcached:
		l := newMemcachedLocks(c.t, startMemcached(c.t), c.disorder.dialer(new(net.Dialer).DialContext))
		l.client.Timeout = 5 * time.Second
		return l
	case inDatastore:
		return newDatastoreLocks(c)
	default:
		return newMemcachedLocks(c.t, c.Suite.MemcachedAddr(), c.Net.DialContext)
	}
}

// memcachedLocks are in memcached, ours or the real one.
type memcachedLocks struct {
	client *memcache.Client
	dialer *fault.Dialer
}

func newMemcachedLocks(t testing.TB, addr string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *memcachedLocks {
	t.Helper()
	client, err := memlock.NewMemcacheClient(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	l := &memcachedLocks{client, fault.NewDialer(dial, nil)}
	client.DialContext = l.dialer.DialContext
	return l
}

func (l *memcachedLocks) options() memlock.Options { return memlock.Options{} }

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

// datastoreLocks are in the Datastore that the workers have, reached by a client
// of its own. There is no memcached then.
type datastoreLocks struct {
	client *datastore.Client
	locks  *datastorelock.Store
	lost   atomic.Bool
}

func newDatastoreLocks(c *cloud) *datastoreLocks {
	c.t.Helper()
	l := new(datastoreLocks)
	l.client = c.newDatastore(l.intercept)
	var err error
	l.locks, err = datastorelock.New(l.client, &datastorelock.Options{EagerBegin: c.backend.datastore == firestore})
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

func (l *datastoreLocks) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, o ...grpc.CallOption) error {
	if l.lost.Load() {
		return status.Error(codes.Unavailable, "down, says the test")
	}
	return next(ctx, method, req, reply, cc, o...)
}

func (l *datastoreLocks) store() memlock.Store { return l.locks }
func (l *datastoreLocks) cache() Cache         { return nil }
func (l *datastoreLocks) down(yes bool)        { l.lost.Store(yes) }

func (l *datastoreLocks) options() memlock.Options {
	return memlock.Options{TTL: datastorelock.TTL, Refresh: datastorelock.Refresh}
}

func (l *datastoreLocks) steal(t testing.TB, key string) {
	l.evict(t, key)
	if holder, err := l.locks.Acquire(t.Context(), key, "thief", 10*time.Second); holder != "" || err != nil {
		t.Fatalf("the thief did not get the lock: %q has it, %v", holder, err)
	}
}

func (l *datastoreLocks) evict(t testing.TB, key string) {
	if err := l.client.Delete(t.Context(), datastore.NameKey("_latchwork_lock", key, nil)); err != nil {
		t.Fatal(err)
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
	dir, err := os.MkdirTemp("", "memcached-") //nolint:usetesting // t.TempDir is too long for a socket
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
