package dispatch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// maxDirect bounds the body of a direct request, and its headers: what a socket
// takes at once, so that writing can't wait for a target that itself waits for
// its answer to be read.
const maxDirect = 8 << 10

// A direct is a transport that makes small requests over plain HTTP/1.1 in the
// goroutine of the caller, one write and one read each: half the CPU of what
// net/http does with two goroutines a connection. Parsing and printing are
// net/http's, and so are all other requests.
//
// Nothing is ever sent twice.
type direct struct {
	base *http.Transport // which has the dialer, the bounds, and what isn't direct

	mu     sync.Mutex
	idle   []*conn     // the one that was used last is the last
	expiry *time.Timer // of the first of idle; nil when there is none
}

// A conn is used for one request at a time.
type conn struct {
	net.Conn
	d     *direct
	addr  string
	in    *bufio.Reader
	left  int64 // bytes that the target may still send before the body
	probe *probe
	since time.Time // when it became idle
}

// Read is limited until the header of an answer is through.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("net/http: server response headers exceeded %d bytes; aborted", c.d.base.MaxResponseHeaderBytes)
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// RoundTrip implements http.RoundTripper.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if !isDirect(r) {
		return d.base.RoundTrip(r)
	}
	if r.Body != nil {
		defer r.Body.Close()
	}
	c, err := d.take(r.Context(), addressOf(r))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(r.Context(), func() { _ = c.Close() })
	response, err := c.exchange(r)
	if err != nil {
		stop()
		_ = c.Close()
		if r.Context().Err() != nil {
			err = context.Cause(r.Context())
		}
		return nil, err
	}
	reusable := !response.Close && response.StatusCode != http.StatusSwitchingProtocols
	response.Body = &answerBody{ReadCloser: response.Body, conn: c, stop: stop, reusable: reusable}
	return response, nil
}

// isDirect reports whether nothing about r is beyond this transport. What is not
// allowed at all is refused by the other.
func isDirect(r *http.Request) bool {
	if r.URL.Scheme != "http" || r.URL.Hostname() == "" || r.ContentLength > maxDirect || r.Close || r.TransferEncoding != nil {
		return false
	}
	if r.ContentLength < 0 || r.ContentLength == 0 && r.Body != nil && r.Body != http.NoBody {
		return false // of a length that isn't known
	}
	for i := range len(r.URL.Host) {
		if r.URL.Host[i] >= 0x80 {
			return false
		}
	}
	size := len(r.URL.Path) + len(r.URL.RawQuery)
	for name, values := range r.Header {
		if len(values) != 1 || strings.EqualFold(name, "Expect") || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(values[0]) {
			return false
		}
		size += len(name) + len(values[0])
	}
	return size <= maxDirect
}

func addressOf(r *http.Request) string {
	port := r.URL.Port()
	if port == "" {
		return net.JoinHostPort(r.URL.Hostname(), "80")
	}
	return r.URL.Host
}

var requests = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// exchange sends r and reads the header of its answer.
func (c *conn) exchange(r *http.Request) (*http.Response, error) {
	b := requests.Get().(*bytes.Buffer)
	defer requests.Put(b)
	b.Reset()
	if err := r.Write(b); err != nil {
		return nil, err
	}
	if _, err := c.Write(b.Bytes()); err != nil {
		return nil, err
	}
	c.left = c.d.base.MaxResponseHeaderBytes // informational answers included
	if _, err := c.in.Peek(1); err != nil {
		return nil, fmt.Errorf("net/http: Transport failed to read from server: %w", err)
	}
	for {
		response, err := http.ReadResponse(c.in, r)
		if err != nil {
			return nil, fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err)
		}
		if s := response.StatusCode; s >= 100 && s <= 199 && s != http.StatusSwitchingProtocols {
			continue
		}
		c.left = math.MaxInt64
		return response, nil
	}
}

// An answerBody gives the connection back at its end.
type answerBody struct {
	io.ReadCloser
	conn     *conn // nil once it is given back
	stop     func() bool
	reusable bool
}

func (a *answerBody) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.end(errors.Is(err, io.EOF))
	}
	return n, err
}

func (a *answerBody) Close() error {
	a.end(false) // first: closing would read on
	return a.ReadCloser.Close()
}

func (a *answerBody) end(whole bool) {
	c := a.conn
	if c == nil {
		return
	}
	a.conn = nil
	if a.stop() && whole && a.reusable && c.probe != nil && c.in.Buffered() == 0 {
		c.d.give(c)
	} else {
		_ = c.Close()
	}
}

// take returns an idle connection to addr or, without one, a new one.
func (d *direct) take(ctx context.Context, addr string) (*conn, error) {
	for {
		c := d.last(addr)
		if c == nil {
			break
		}
		if c.probe.silent() {
			return c, nil
		}
		_ = c.Close()
	}
	raw, err := d.base.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, d: d, addr: addr, probe: newProbe(raw)}
	c.in = bufio.NewReader(c)
	return c, nil
}

// last takes out the connection to addr that was used last, or returns nil.
func (d *direct) last(addr string) *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, c := range slices.Backward(d.idle) {
		if c.addr == addr {
			d.idle = slices.Delete(d.idle, i, i+1)
			return c
		}
	}
	return nil
}

// give keeps c for the next request, and closes the oldest when they are too
// many.
func (d *direct) give(c *conn) {
	c.since = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= d.base.MaxIdleConns {
		_ = d.idle[0].Close()
		d.idle = slices.Delete(d.idle, 0, 1)
	}
	d.idle = append(d.idle, c)
	if d.expiry == nil {
		d.expiry = time.AfterFunc(d.base.IdleConnTimeout, d.expire)
	}
}

// expire closes what has been idle for long, and comes back for the rest.
func (d *direct) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := 0
	for ; old < len(d.idle) && time.Since(d.idle[old].since) >= d.base.IdleConnTimeout; old++ {
		_ = d.idle[old].Close()
	}
	d.idle = slices.Delete(d.idle, 0, old)
	if d.expiry = nil; len(d.idle) > 0 {
		d.expiry = time.AfterFunc(d.base.IdleConnTimeout-time.Since(d.idle[0].since), d.expire)
	}
}

// CloseIdleConnections closes the connections that no request uses.
func (d *direct) CloseIdleConnections() {
	d.base.CloseIdleConnections()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.idle {
		_ = c.Close()
	}
	d.idle = nil
	if d.expiry != nil {
		d.expiry.Stop()
		d.expiry = nil
	}
}
