package pipenet

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

const (
	firstPort = 30000 // of those that the network picks
	lastPort  = 65535
	backlog   = 1024 // connections that wait for Accept; more are refused
)

// A Network is a set of listeners that can be dialled by address. Networks are
// separate from each other. Its methods may be called concurrently.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	lastPort  int // handed out most recently
}

// New returns a network on which nobody listens.
func New() *Network {
	return &Network{listeners: map[string]*listener{}, lastPort: firstPort - 1}
}

// Listen listens on addr, "host:port". Port 0 picks a free port. An address that
// is in use is an error that wraps syscall.EADDRINUSE.
func (n *Network) Listen(addr string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: Addr(addr), Err: err}
	}
	host, port, err := split(addr)
	if err != nil {
		return fail(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == 0 {
		if port = n.freePort(host); port == 0 {
			return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
		}
	}
	l := &listener{network: n, addr: join(host, port)}
	l.arrived.L = &l.mu
	if _, taken := n.listeners[string(l.addr)]; taken {
		return fail(os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	n.listeners[string(l.addr)] = l
	return l, nil
}

// DialContext connects to addr. It has the shape that net/http, gRPC and
// gomemcache take; network must be tcp, tcp4 or tcp6. It never waits: where
// nobody listens, or 1,024 connections wait to be accepted already, it returns
// an error that wraps syscall.ECONNREFUSED.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: Addr(addr), Err: err}
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return fail(net.UnknownNetworkError(network))
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	host, port, err := split(addr)
	if err != nil {
		return fail(err)
	}
	to := join(host, port)
	n.mu.Lock()
	l := n.listeners[string(to)]
	from := join("127.0.0.1", n.nextPort())
	n.mu.Unlock()
	if l != nil {
		client, server := pipe(from, to)
		if l.offer(server) {
			return client, nil
		}
	}
	return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
}

// nextPort moves through the picked ports round and round.
func (n *Network) nextPort() int {
	if n.lastPort++; n.lastPort > lastPort {
		n.lastPort = firstPort
	}
	return n.lastPort
}

// freePort returns a port that nobody listens on at host, or 0.
func (n *Network) freePort(host string) int {
	for range lastPort - firstPort + 1 {
		port := n.nextPort()
		if _, taken := n.listeners[string(join(host, port))]; !taken {
			return port
		}
	}
	return 0
}

// Addr is an address on a Network, "host:port".
type Addr string

// Network returns "tcp", which is what a Network stands in for.
func (Addr) Network() string { return "tcp" }

// String returns the address.
func (a Addr) String() string { return string(a) }

func join(host string, port int) Addr {
	return Addr(net.JoinHostPort(host, strconv.Itoa(port)))
}

func split(addr string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	p, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q: must be a number from 0 to 65535", service)
	}
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	return host, int(p), nil
}

// listener queues connections until they are accepted.
type listener struct {
	network *Network
	addr    Addr

	mu      sync.Mutex
	arrived sync.Cond
	waiting []*conn
	closed  bool
}

func (l *listener) offer(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting) == backlog {
		return false
	}
	l.waiting = append(l.waiting, c)
	l.arrived.Signal()
	return true
}

func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.arrived.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

// Close frees the address and closes the connections that nobody accepted.
func (l *listener) Close() error {
	l.network.mu.Lock()
	if l.network.listeners[string(l.addr)] == l {
		delete(l.network.listeners, string(l.addr))
	}
	l.network.mu.Unlock()

	l.mu.Lock()
	waiting, closed := l.waiting, l.closed
	l.waiting, l.closed = nil, true
	l.arrived.Broadcast()
	l.mu.Unlock()
	if closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	for _, c := range waiting {
		_ = c.Close() // never fails the first time
	}
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }
