package messages

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator"
)

// disorder makes in the clients what chaos our own Datastore and memcached would
// make in the servers (see emulator.ChaosSettings): for servers that are not ours.
// The zero value makes none.
type disorder struct {
	mu       sync.Mutex
	settings emulator.ChaosSettings
	dice     *rand.Rand
	injected map[string]uint64
}

func (d *disorder) set(s emulator.ChaosSettings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dice == nil {
		d.dice, d.injected = rand.New(rand.NewPCG(s.Seed, 0)), make(map[string]uint64)
	}
	d.settings = s
}

// counts adds to those of our own servers what was injected here.
func (d *disorder) counts(all map[string]uint64) map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.Copy(all, d.injected)
	return all
}

// strikes decides about one fault; late is for half of them.
func (d *disorder) strikes(fault string, share func(emulator.ChaosSettings) float64) (struck, late bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if share(d.settings) == 0 || d.dice.Float64() >= share(d.settings) {
		return false, false
	}
	d.injected[fault]++
	return true, d.dice.IntN(2) == 0
}

// intercept stands before Datastore.
func (d *disorder) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, o ...grpc.CallOption) error {
	changes := path.Base(method) == "Commit"
	if changes {
		if struck, _ := d.strikes("abort", func(s emulator.ChaosSettings) float64 { return s.Abort }); struck {
			return status.Error(codes.Aborted, "too much contention (a test's)")
		}
	}
	struck, late := d.strikes("datastoreOutage", func(s emulator.ChaosSettings) float64 { return s.DatastoreOutage })
	if !struck || late && changes {
		if err := next(ctx, method, req, reply, cc, o...); err != nil || !struck {
			return err
		}
	}
	return status.Error(codes.Unavailable, "unavailable (a test's)")
}

// dialer makes connections to memcached on which entries are evicted and which
// break.
func (d *disorder) dialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return disorderly{c, d}, nil
	}
}

type disorderly struct {
	net.Conn
	d *disorder
}

// Write writes a command: gomemcache flushes them one by one.
func (c disorderly) Write(command []byte) (int, error) {
	if words := bytes.Fields(command); len(words) > 1 {
		if struck, _ := c.d.strikes("evict", func(s emulator.ChaosSettings) float64 { return s.Evict }); struck {
			if _, err := fmt.Fprintf(c.Conn, "delete %s noreply\r\n", words[1]); err != nil {
				return 0, err
			}
		}
	}
	struck, late := c.d.strikes("memcachedOutage", func(s emulator.ChaosSettings) float64 { return s.MemcachedOutage })
	if struck {
		defer c.Close()
	}
	if struck && !late {
		return 0, os.ErrClosed
	}
	return c.Conn.Write(command)
}
