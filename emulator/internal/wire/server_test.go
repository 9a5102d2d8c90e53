package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/latchwork/latchwork/emulator/internal/wire"
	"github.com/latchwork/latchwork/internal/pipenet"
)

type unary = func(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error)

// newGRPC returns a server with one method, /test.Echo/Call.
func newGRPC(call unary) *grpc.Server {
	s := grpc.NewServer(wire.GRPCOptions()...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call",
			Handler: func(_ any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
				in := new(wrapperspb.StringValue)
				if err := dec(in); err != nil {
					return nil, err
				}
				return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/test.Echo/Call"},
					func(ctx context.Context, req any) (any, error) { return call(ctx, req.(*wrapperspb.StringValue)) })
			}}},
	}, nil)
	return s
}

func echo(_ context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return in, nil
}

// rig is a served wire.Server and clients for it.
type rig struct {
	t    *testing.T
	net  *pipenet.Network
	addr string
	srv  *wire.Server
	http *http.Client
}

func serve(t *testing.T, s *wire.Server) *rig {
	t.Helper()
	n := pipenet.New()
	l, err := n.Listen("127.0.0.1:8081")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	tr := &http.Transport{DialContext: n.DialContext}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v after Close, want nil", err)
		}
	})
	return &rig{t: t, net: n, addr: l.Addr().String(), srv: s, http: &http.Client{Transport: tr}}
}

func (r *rig) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return r.net.DialContext(ctx, "tcp", addr)
		})}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { cc.Close() })
	return cc
}

func call(ctx context.Context, cc *grpc.ClientConn, in string) (string, error) {
	out := new(wrapperspb.StringValue)
	err := cc.Invoke(ctx, "/test.Echo/Call", wrapperspb.String(in), out)
	return out.Value, err
}

func (r *rig) get(path string, change func(*http.Request)) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", "http://"+r.addr+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

var pathHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })

func TestOnePortSpeaksBothDialects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{GRPC: newGRPC(echo), HTTP: pathHandler})
		cc := r.dial()
		for range 3 {
			if got, err := call(t.Context(), cc, "grpc"); err != nil || got != "grpc" {
				t.Fatalf("gRPC: %q, %v", got, err)
			}
			if code, body := r.get("/rest", nil); code != 200 || body != "/rest" {
				t.Fatalf("HTTP: %d %q", code, body)
			}
		}
	})
}

func TestSeveralListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{HTTP: pathHandler})
		l, err := r.net.Listen("127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		go r.srv.Serve(l)
		r.addr = "127.0.0.1:9999"
		if code, _ := r.get("/x", nil); code != 200 {
			t.Errorf("second listener answers %d", code)
		}
		r.srv.Close()
		if _, err := r.net.DialContext(t.Context(), "tcp", r.addr); err == nil {
			t.Error("the second listener survived Close")
		}
		l2, err := r.net.Listen("127.0.0.1:9998")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.srv.Serve(l2); err != nil {
			t.Errorf("Serve after Close: %v, want nil", err)
		}
		if _, err := r.net.DialContext(t.Context(), "tcp", "127.0.0.1:9998"); err == nil {
			t.Error("Serve after Close left its listener open")
		}
	})
}

// A first byte that trickles in, in pieces, and never at all.
func TestSniffing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{GRPC: newGRPC(echo), HTTP: pathHandler})
		dial := func() net.Conn {
			c, err := r.net.DialContext(t.Context(), "tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		c := dial()
		for _, piece := range []string{"P", "OST /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"} {
			synctest.Wait()
			io.WriteString(c, piece)
		}
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
			t.Errorf("got %q, %v", got, err)
		}

		c = dial()
		start := time.Now()
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 || time.Since(start) != 30*time.Second {
			t.Errorf("a silent connection got %q, %v after %v, want to be closed after 30s", got, err, time.Since(start))
		}
		for _, garbage := range []string{"\x00\x01\x02\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "\r\n\r\n"} {
			c := dial()
			io.WriteString(c, garbage)
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("%q: %v, want an answer or a close", garbage, err)
			}
		}
		if code, _ := r.get("/still", nil); code != 200 {
			t.Errorf("after garbage, HTTP answers %d", code)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{HTTP: pathHandler, MaxConns: 2})
		dial := func() net.Conn {
			c, err := r.net.DialContext(t.Context(), "tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		a, b, c := dial(), dial(), dial()
		defer b.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the third connection: %v, want it closed", err)
		}
		a.Close()
		synctest.Wait()
		d := dial()
		defer d.Close()
		io.WriteString(d, "GET / HTTP/1.0\r\n\r\n")
		if got, _ := io.ReadAll(d); !strings.HasPrefix(string(got), "HTTP/1.0 200") {
			t.Errorf("after one ended, a new one got %q", got)
		}
	})
}

func TestPanicsEndTheirRequestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{GRPC: newGRPC(func(_ context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			if in.Value == "boom" {
				panic("boom: 42")
			}
			return in, nil
		})})
		cc := r.dial()
		_, err := call(t.Context(), cc, "boom")
		if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "boom: 42") || !strings.Contains(err.Error(), "goroutine") {
			t.Errorf("panic: %v, want INTERNAL with value and stack", err)
		}
		if _, err := call(t.Context(), cc, "ok"); err != nil {
			t.Errorf("the next request: %v", err)
		}
	})
}

func TestMessagesAreBounded(t *testing.T) {
	r := serve(t, &wire.Server{GRPC: newGRPC(echo), HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	})})
	cc := r.dial(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(20 << 20)))
	if _, err := call(t.Context(), cc, strings.Repeat("x", 11<<20)); err != nil {
		t.Errorf("11 MiB: %v", err)
	}
	if _, err := call(t.Context(), cc, strings.Repeat("x", 17<<20)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("17 MiB: %v, want RESOURCE_EXHAUSTED", err)
	}
	resp, err := r.http.Post("http://"+r.addr, "text/plain", strings.NewReader(strings.Repeat("x", 17<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, _ := io.ReadAll(resp.Body); !strings.Contains(string(got), "too large") {
		t.Errorf("17 MiB body: %q", got)
	}
}

// Clients ping every 60 s, with and without streams: no GOAWAY.
func TestIdleKeepaliveIsWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		r := serve(t, &wire.Server{GRPC: newGRPC(echo)})
		cc := r.dial(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				dials++
				return r.net.DialContext(ctx, "tcp", addr)
			}))
		for range 5 {
			if _, err := call(t.Context(), cc, "x"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if dials != 1 {
			t.Errorf("the client connected %d times, want once", dials)
		}
	})
}

// A body that is announced and never comes holds its connection for a minute.
func TestSlowBodyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{HTTP: pathHandler})
		conn, err := r.net.DialContext(t.Context(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\nx", r.addr)
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("the connection was held for %v", took)
		}
	})
}

// What a handler waits for, such as the locks of others, may take longer than
// requests may take to arrive.
func TestHandlersMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 4 * time.Minute
		r := serve(t, &wire.Server{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				t.Error(err)
			}
			select {
			case <-time.After(wait):
				io.WriteString(w, "done")
			case <-r.Context().Done():
				t.Error("the request was cancelled: ", context.Cause(r.Context()))
			}
		})})
		for range 2 { // the connection serves further requests
			resp, err := r.http.Post("http://"+r.addr, "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != "done" {
				t.Errorf("got %q, %v", body, err)
			}
			resp.Body.Close()
		}
	})
}

func TestCloseLetsRunningRequestsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{
			GRPC: newGRPC(func(_ context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
				time.Sleep(500 * time.Millisecond)
				return in, nil
			}),
			HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(500 * time.Millisecond)
			}),
		})
		cc := r.dial()
		results := make(chan error, 2)
		go func() { _, err := call(t.Context(), cc, "x"); results <- err }()
		go func() {
			resp, err := r.http.Get("http://" + r.addr)
			if err == nil {
				resp.Body.Close()
			}
			results <- err
		}()
		synctest.Wait()
		if err := r.srv.Close(); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("a running request: %v", err)
			}
		}
	})
}

func TestCloseCancelsWhatTakesLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan string, 2)
		r := serve(t, &wire.Server{
			GRPC: newGRPC(func(ctx context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
				<-ctx.Done()
				ended <- "grpc"
				return nil, ctx.Err()
			}),
			HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				ended <- "http"
			}),
		})
		cc := r.dial()
		go call(t.Context(), cc, "x")
		// With a body that never comes: net/http would not notice the end.
		c, err := r.net.DialContext(t.Context(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
		synctest.Wait()
		start := time.Now()
		if err := r.srv.Close(); err != nil {
			t.Error(err)
		}
		if len(ended) != 2 || time.Since(start) > 2*time.Second {
			t.Errorf("%d of 2 handlers had ended when Close returned after %v", len(ended), time.Since(start))
		}
	})
}

func TestCloseIsBoundedAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := serve(t, &wire.Server{HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })})
		go func() {
			if resp, err := r.http.Get("http://" + r.addr); err == nil {
				resp.Body.Close()
			}
		}()
		synctest.Wait()
		start := time.Now()
		if err := r.srv.Close(); !errors.Is(err, wire.ErrHandlersRunning) || time.Since(start) != 6*time.Second {
			t.Errorf("Close: %v after %v, want ErrHandlersRunning after 6s", err, time.Since(start))
		}
		close(release)
		if err := r.srv.Close(); !errors.Is(err, wire.ErrHandlersRunning) {
			t.Errorf("second Close: %v, want the first one's error", err)
		}
	})
}

// flaky is a listener whose Accept fails with the errors of a list first.
type flaky struct {
	net.Listener
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.Listener.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, &wire.Server{HTTP: pathHandler})
		listen := func(errs ...error) net.Listener {
			l, err := r.net.Listen("127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			return &flaky{l, errs}
		}
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- r.srv.Serve(listen(syscall.EMFILE, fmt.Errorf("accept: %w", syscall.ENFILE))) }()
		synctest.Wait()
		r.addr = "127.0.0.1:9999"
		if code, _ := r.get("/x", nil); code != 200 || time.Since(start) != 15*time.Millisecond {
			t.Errorf("after two shortages: status %d after %v, want 200 after 15ms", code, time.Since(start))
		}

		broken := errors.New("broken")
		l, err := r.net.Listen("127.0.0.1:9998")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.srv.Serve(&flaky{l, []error{broken}}); !errors.Is(err, broken) {
			t.Errorf("a broken listener: %v", err)
		}

		l, err = r.net.Listen("127.0.0.1:9997")
		if err != nil {
			t.Fatal(err)
		}
		pausing := make(chan error, 1)
		go func() { pausing <- r.srv.Serve(&flaky{l, []error{syscall.EMFILE}}) }()
		synctest.Wait()
		r.srv.Close()
		if err := errors.Join(<-pausing, <-done); err != nil {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestCloseWithoutServe(t *testing.T) {
	if err := new(wire.Server).Close(); err != nil {
		t.Error(err)
	}
}
