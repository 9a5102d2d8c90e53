//go:build unix

package dispatch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/internal/pipenet"
)

func newDirect(t *testing.T) *direct {
	t.Helper()
	d := NewTransport(4).(*direct)
	t.Cleanup(d.CloseIdleConnections)
	return d
}

// listen gives each connection to f.
func listen(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	return l.Addr().String()
}

func newRequest(t *testing.T, method, url string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// outcome is all that a caller learns of an answer.
func outcome(transport http.RoundTripper, r *http.Request) string {
	response, err := transport.RoundTrip(r)
	if err != nil {
		return "error: " + err.Error()
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	return fmt.Sprintf("%s %v %d %q %v", response.Status, response.Header, response.ContentLength, body, err)
}

// A direct request is, byte for byte, that of net/http.
func TestDirectRequests(t *testing.T) {
	const end = "\r\n\r\n"
	got := make(chan string, 1)
	addr := listen(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			var text strings.Builder
			r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(in, &text))) // whole requests arrive at once
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			got <- text.String()
			io.WriteString(c, "HTTP/1.1 204 No Content"+end)
		}
	})
	d := newDirect(t)
	for name, change := range map[string]func(*http.Request){
		"as it is":                func(*http.Request) {},
		"another host":            func(r *http.Request) { r.Host = "s.p.us-central1.r.appspot.com" },
		"a query":                 func(r *http.Request) { r.URL.RawQuery = "a=b&c=%20" },
		"a path with escapes":     func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a b/ü", "/a%20b/%C3%BC" },
		"a path with two slashes": func(r *http.Request) { r.URL.Path = "//other/x" },
		"no path":                 func(r *http.Request) { r.URL.Path = "" },
		"headers": func(r *http.Request) {
			r.Header["User-Agent"] = []string{HTTPUserAgent}
			r.Header["X-CloudTasks-TaskName"] = []string{"t"}
			r.Header["x-lower"] = []string{"1"}
			r.Header["X-Lower"] = []string{"2"}
			r.Header["Empty"] = []string{""}
			r.Header["Content-Length"] = []string{"77"}
		},
		"no user agent":      func(r *http.Request) { r.Header["User-Agent"] = []string{""} },
		"a header twice":     func(r *http.Request) { r.Header["X"] = []string{"1", "2"} },
		"a great header":     func(r *http.Request) { r.Header["X"] = []string{strings.Repeat("x", 2*maxDirect)} },
		"Expect":             func(r *http.Request) { r.Header["Expect"] = []string{"nothing"} },
		"to be closed":       func(r *http.Request) { r.Close = true },
		"a length not known": func(r *http.Request) { r.ContentLength = -1 },
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			for _, size := range []int{0, 1, maxDirect, maxDirect + 1} {
				var texts [2]string
				for i, transport := range []http.RoundTripper{d, d.base} {
					r := newRequest(t, method, "http://"+addr+"/path", bytes.Repeat([]byte("b"), size))
					change(r)
					if o := outcome(transport, r); !strings.HasPrefix(o, "204 No Content ") {
						t.Fatalf("%s, %s, %d bytes: %s", name, method, size, o)
					}
					texts[i] = <-got
				}
				if texts[0] != texts[1] {
					t.Errorf("%s, %s, %d bytes: sent\n%q, net/http sends\n%q", name, method, size, texts[0], texts[1])
				}
			}
		}
	}
}

// Answers, whole and broken, are what net/http makes of them.
func TestDirectAnswers(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n1\r\na\r\n0\r\nT: v\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
		"HTTP/1.0 200 OK\r\n\r\nold",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\na",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
		"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nand more than that",
		"HTTP/1.1 200 OK\r\nContent-Le",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200",
		"HTTP/9.9 200 OK\r\n\r\n",
		"SSH-2.0-OpenSSH_9.9\r\n",
		"\xff\x00",
		"",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxAnswerHeader) + "\r\n\r\n",
		strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n", 200),
	} {
		addr := listen(t, func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				io.WriteString(c, text)
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c) // so that nothing is reset
			}
		})
		for _, method := range []string{http.MethodPost, http.MethodHead} {
			d := newDirect(t) // a kept connection may be closed while the next request is on its way
			ours := outcome(d, newRequest(t, method, "http://"+addr, nil))
			theirs := outcome(d.base, newRequest(t, method, "http://"+addr, nil))
			// net/http has two goroutines, of which either may be the first to notice an end.
			if ours != theirs && !(text == "" && strings.HasPrefix(ours, "error: ") && strings.HasPrefix(theirs, "error: ")) {
				t.Errorf("%s, %.60q:\n%.200s, but net/http:\n%.200s", method, text, ours, theirs)
			}
		}
	}
}

// A connection that was closed, or that something has arrived on, isn't used
// again; one that is fine is.
func TestDirectConnections(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, tt := range []struct {
		name  string
		last  string // sent when the answer was read
		close bool
		reuse bool
	}{
		{name: "is fine", reuse: true},
		{name: "was closed", close: true},
		{name: "says more", last: "HTTP/1.1 408 Request Timeout\r\n\r\n"},
		{name: "says more and was closed", last: "x", close: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var connections atomic.Int32
			answered, done := make(chan bool), make(chan bool)
			addr := listen(t, func(c net.Conn) {
				connections.Add(1)
				in := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					io.WriteString(c, ok)
					<-answered
					io.WriteString(c, tt.last)
					if tt.close {
						c.Close()
					}
					done <- true
				}
			})
			d := newDirect(t)
			for range 3 {
				if o := outcome(d, newRequest(t, http.MethodPost, "http://"+addr, nil)); !strings.HasPrefix(o, "200") {
					t.Fatal(o)
				}
				answered <- true
				<-done
			}
			if n := connections.Load(); tt.reuse != (n == 1) {
				t.Errorf("%d connections for 3 requests", n)
			}
			d.CloseIdleConnections()
		})
	}
}

// The end of its context ends a request, wherever it is.
func TestDirectCancel(t *testing.T) {
	for name, text := range map[string]string{
		"before the answer": "",
		"in the header":     "HTTP/1.1 200 OK\r\nX: ",
		"in the body":       "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := pipenet.New()
				l, err := network.Listen("a:80")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() {
					c, err := l.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					io.WriteString(c, text)
					io.Copy(io.Discard, c)
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				d := &direct{base: &http.Transport{DialContext: network.DialContext, MaxResponseHeaderBytes: maxAnswerHeader}}
				response, err := d.RoundTrip(newRequest(t, http.MethodPost, "http://a", nil).WithContext(ctx))
				if err == nil {
					_, err = io.ReadAll(response.Body)
					response.Body.Close()
				}
				if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					t.Errorf("error %v, context %v", err, ctx.Err())
				}
			})
		})
	}
}

// Of idle connections the oldest is closed when they are too many, and all are
// after a while.
func TestDirectIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &direct{base: &http.Transport{MaxIdleConns: 2, IdleConnTimeout: time.Minute}}
		var others []net.Conn
		for i := range 3 {
			ours, other := net.Pipe()
			others = append(others, other)
			d.give(&conn{Conn: ours, d: d, addr: fmt.Sprint(i)})
			time.Sleep(10 * time.Second)
		}
		open := func(c net.Conn) bool {
			c.SetReadDeadline(time.Now().Add(time.Nanosecond))
			_, err := c.Read(make([]byte, 1))
			return !errors.Is(err, io.EOF)
		}
		for i, want := range []bool{false, true, true} {
			if open(others[i]) != want {
				t.Errorf("connection %d of 3 with 2 allowed: open %v", i, !want)
			}
		}
		time.Sleep(41 * time.Second)
		if open(others[1]) || !open(others[2]) {
			t.Error("after a minute of one of them the wrong ones are open")
		}
		if c := d.last("2"); c == nil || d.last("2") != nil || d.last("1") != nil {
			t.Error("a connection was not taken out, or one that was closed")
		} else {
			d.give(c)
		}
		time.Sleep(2 * time.Minute)
		d.mu.Lock()
		defer d.mu.Unlock()
		if open(others[2]) || d.expiry != nil {
			t.Error("a connection or a timer is left")
		}
	})
}

func TestDirectConcurrently(t *testing.T) {
	url, connections := worker(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	d := newDirect(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 50 {
				text := fmt.Sprintf("%d/%d", i, k)
				if o := outcome(d, newRequest(t, http.MethodPost, url, []byte(text))); !strings.Contains(o, fmt.Sprintf("%q <nil>", text)) {
					t.Errorf("%s was answered %s", text, o)
				}
			}
		})
	}
	wg.Wait()
	if n := connections.Load(); n > 300 {
		t.Errorf("%d connections for 400 requests by 8", n)
	}
}
