package pipenet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/internal/pipenet"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	n := pipenet.New()
	l, err := n.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	client, err = n.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestConnCarriesBytesBothWays(t *testing.T) {
	client, server := pair(t)
	for _, dir := range []struct{ from, to net.Conn }{{client, server}, {server, client}} {
		if _, err := io.WriteString(dir.from, "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(dir.to, got); err != nil || string(got) != "hello" {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	if client.LocalAddr().String() != server.RemoteAddr().String() || server.LocalAddr().String() != client.RemoteAddr().String() {
		t.Errorf("addresses disagree: %v-%v and %v-%v", client.LocalAddr(), client.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
	}
}

func TestCloseIsOrderly(t *testing.T) {
	client, server := pair(t)
	if _, err := io.WriteString(client, "last words"); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); err != nil || string(got) != "last words" {
		t.Errorf("after the other end closed, read %q, %v", got, err)
	}
	if _, err := server.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a closed end: %v, want EPIPE", err)
	}
	for name, err := range map[string]error{
		"close": client.Close(),
		"read":  second(client.Read(make([]byte, 1))),
		"write": second(client.Write([]byte("x"))),
		"set":   client.SetDeadline(time.Time{}),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s on a closed connection: %v, want net.ErrClosed", name, err)
		}
	}
}

func second(_ int, err error) error { return err }

func TestCloseWakesBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		got := make(chan error, 2)
		go func() { got <- second(client.Read(make([]byte, 1))) }()
		go func() { got <- second(server.Read(make([]byte, 1))) }()
		synctest.Wait()
		client.Close()
		a, b := <-got, <-got
		if a == io.EOF {
			a, b = b, a
		}
		if !errors.Is(a, net.ErrClosed) || b != io.EOF {
			t.Errorf("readers got %v and %v, want net.ErrClosed and EOF", a, b)
		}
	})
}

func TestWritesAreBufferedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
		done := make(chan error, 1)
		if _, err := client.Write(data[:1000]); err != nil { // nobody reads yet
			t.Fatal(err)
		}
		go func() {
			_, err := client.Write(data[1000:])
			client.Close()
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("1 MiB was written without a reader (%v)", err)
		default:
		}
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %d bytes, %v; want the %d written", len(got), err, len(data))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		start := time.Now()
		client.SetReadDeadline(start.Add(time.Minute))
		_, err := client.Read(make([]byte, 1))
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("read: %v, want a deadline error that is a timeout", err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("the read waited %v, want 1m", d)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("second read: %v, want the deadline to last", err)
		}

		// Moved on while a read waits: the old deadline must not end it.
		client.SetReadDeadline(time.Now().Add(time.Second))
		read := make(chan error, 1)
		go func() { read <- second(client.Read(make([]byte, 1))) }()
		synctest.Wait()
		client.SetReadDeadline(time.Time{})
		time.Sleep(time.Hour)
		server.Write([]byte("x"))
		if err := <-read; err != nil {
			t.Errorf("read after the deadline was lifted: %v", err)
		}

		// A past deadline wakes a writer that waits for room.
		wrote := make(chan error, 1)
		go func() { wrote <- second(client.Write(make([]byte, 1<<20))) }()
		synctest.Wait()
		client.SetDeadline(time.Unix(1, 0))
		if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v, want a deadline error", err)
		}
	})
}

func TestListen(t *testing.T) {
	n := pipenet.New()
	l, err := n.Listen("localhost:80")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Addr().String(); got != "127.0.0.1:80" {
		t.Errorf("address %q, want 127.0.0.1:80", got)
	}
	if _, err := n.Listen("127.0.0.1:80"); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "127.0.0.1:80") {
		t.Errorf("second listener: %v, want EADDRINUSE and the address", err)
	}
	if other, err := n.Listen("worker.example:80"); err != nil {
		t.Errorf("another host, same port: %v", err)
	} else {
		other.Close()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	if again, err := n.Listen(":80"); err != nil {
		t.Errorf("the address was not freed: %v", err)
	} else {
		again.Close()
	}
	for _, bad := range []string{"", "host", "host:http", "host:-1", "host:65536", "a:b:1"} {
		if l, err := n.Listen(bad); err == nil {
			l.Close()
			t.Errorf("Listen(%q) succeeded", bad)
		}
	}
}

func TestPickedPortsAvoidTakenOnes(t *testing.T) {
	n := pipenet.New()
	seen := map[string]bool{}
	for range 100 {
		l, err := n.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if seen[l.Addr().String()] {
			t.Fatalf("%v was handed out twice", l.Addr())
		}
		seen[l.Addr().String()] = true
	}
}

func TestDialErrors(t *testing.T) {
	n := pipenet.New()
	l, err := n.Listen("127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:81"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := n.DialContext(t.Context(), "udp", "127.0.0.1:80"); err == nil || !strings.Contains(err.Error(), "udp") {
		t.Errorf("udp: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.DialContext(ctx, "tcp", "127.0.0.1:80"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var first net.Conn
	for i := range 1024 {
		c, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:80")
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if first == nil {
			first = c
		}
	}
	if _, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("full backlog: %v", err)
	}
	l.Close()
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that was never accepted: %v, want EOF", err)
	}
}

// The net/http client and server run over the network in a bubble, and time
// passes while they wait.
func TestHTTPInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		l, err := n.Listen("worker.example:80")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Hour)
			io.WriteString(w, r.Host)
		})}
		go srv.Serve(l)
		defer srv.Close()
		tr := &http.Transport{DialContext: n.DialContext}
		defer tr.CloseIdleConnections()
		start := time.Now()
		resp, err := (&http.Client{Transport: tr}).Get("http://worker.example/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "worker.example" || time.Since(start) != time.Hour {
			t.Errorf("got %q after %v", body, time.Since(start))
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	n := pipenet.New()
	l, err := n.Listen(":0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	client, err := n.DialContext(b.Context(), "tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	go io.Copy(server, server)
	msg := make([]byte, 100)
	for b.Loop() {
		client.Write(msg)
		io.ReadFull(client, msg)
	}
}
