package wire

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// sniffed is a connection whose first bytes have been looked at: they are read
// again before the rest.
type sniffed struct {
	net.Conn
	head    []byte
	onClose func()
	once    sync.Once
}

// sniff reads until it knows whether the client speaks HTTP/2 with prior
// knowledge, for at most d. No HTTP/1.1 request begins like the preface.
func (c *sniffed) sniff(d time.Duration) (isHTTP2 bool, err error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return false, err
	}
	buf := make([]byte, len(http2.ClientPreface))
	n := 0
	for n < len(buf) && strings.HasPrefix(http2.ClientPreface, string(buf[:n])) {
		k, err := c.Conn.Read(buf[n:])
		n += k
		if errors.Is(err, io.EOF) && n > 0 {
			break // let HTTP/1.1 answer what there is
		}
		if err != nil {
			return false, err
		}
	}
	c.head = buf[:n]
	return string(c.head) == http2.ClientPreface, c.SetReadDeadline(time.Time{})
}

func (c *sniffed) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *sniffed) Close() error {
	c.once.Do(c.onClose)
	return c.Conn.Close()
}

// handover is the listener of an inner server: it accepts what it is given.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// give passes c on, or closes it when the inner server has stopped.
func (h *handover) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }
