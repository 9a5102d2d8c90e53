package fault

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
)

// A Dialer opens connections that can be refused and cut, on command and by a
// script. Losing the answer of a "read" (Lose) makes what was asked for take
// effect for certain: the read waits for the answer before it throws it away. Any
// fault in a read or write cuts the connection.
type Dialer struct {
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	script *Script

	mu     sync.Mutex
	refuse bool
	conns  map[*conn]struct{}
}

// NewDialer returns a Dialer over dial; a nil dial is a net.Dialer's. The nil
// script lets everything pass.
func NewDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error), s *Script) *Dialer {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if s == nil {
		s = &Script{}
	}
	return &Dialer{dial: dial, script: s, conns: map[*conn]struct{}{}}
}

// DialContext connects, unless it is refused.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	refuse := d.refuse
	d.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if refuse {
		return nil, refused
	}
	var raw net.Conn
	_, err := d.script.run(ctx, []string{"dial", "dial " + addr}, func() (err error) {
		raw, err = d.dial(ctx, network, addr)
		return err
	})
	if err != nil {
		if raw != nil {
			raw.Close()
		}
		return nil, err
	}
	c := &conn{Conn: raw, dialer: d, addr: addr}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse { // since then: Cut may have come and gone
		raw.Close()
		return nil, refused
	}
	d.conns[c] = struct{}{}
	return c, nil
}

// Refuse makes every further dial fail with ECONNREFUSED, those under way
// included, or ends that.
func (d *Dialer) Refuse(refuse bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = refuse
}

// Cut closes all open connections and returns how many there were. Both ends see
// them end.
func (d *Dialer) Cut() int {
	d.mu.Lock()
	conns := d.conns
	d.conns = map[*conn]struct{}{}
	d.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
	return len(conns)
}

// conn belongs to a Dialer, whose script stands in the way of its reads and writes.
type conn struct {
	net.Conn
	dialer *Dialer
	addr   string
}

func (c *conn) Read(p []byte) (int, error)  { return c.do("read", c.Conn.Read, p) }
func (c *conn) Write(p []byte) (int, error) { return c.do("write", c.Conn.Write, p) }

func (c *conn) do(op string, f func([]byte) (int, error), p []byte) (n int, err error) {
	met, err := c.dialer.script.run(context.Background(), []string{op, op + " " + c.addr}, func() (err error) {
		n, err = f(p)
		return err
	})
	if met && err != nil {
		_ = c.Close() // cut
		return 0, &net.OpError{Op: op, Net: "tcp", Addr: c.RemoteAddr(), Err: err}
	}
	return n, err
}

func (c *conn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.conns, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}
