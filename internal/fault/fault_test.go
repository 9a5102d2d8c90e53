package fault_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/internal/fault"
	"github.com/latchwork/latchwork/internal/pipenet"
)

// server counts the calls that took effect.
type server struct{ effects int }

// call makes a gRPC call of method through the script's interceptor.
func (srv *server) call(ctx context.Context, s *fault.Script, method string) error {
	return s.Unary()(ctx, method, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		srv.effects++
		return nil
	})
}

const commit = "/google.datastore.v1.Datastore/Commit"

func TestNthCall(t *testing.T) {
	unavailable := status.Error(codes.Unavailable, "on purpose")
	for _, test := range []struct {
		name    string
		rule    string
		nth     int
		f       fault.Fault
		want    []codes.Code
		effects int
	}{
		{"no rule", "Lookup", 1, fault.Fail(unavailable), []codes.Code{0, 0, 0}, 3},
		{"not sent", "Commit", 2, fault.Fail(unavailable), []codes.Code{0, codes.Unavailable, 0}, 2},
		{"lost answer", "Commit", 2, fault.Lose(unavailable), []codes.Code{0, codes.Unavailable, 0}, 3},
		{"full name", commit, 1, fault.Fail(unavailable), []codes.Code{codes.Unavailable, 0, 0}, 2},
		{"every call", "Commit", 0, fault.Fail(unavailable), []codes.Code{codes.Unavailable, codes.Unavailable, codes.Unavailable}, 0},
		{"everything", "*", 3, fault.Lose(unavailable), []codes.Code{0, 0, codes.Unavailable}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s fault.Script
			s.On(test.rule, test.nth, test.f)
			var srv server
			var got []codes.Code
			for range 3 {
				got = append(got, status.Code(srv.call(t.Context(), &s, commit)))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if srv.effects != test.effects {
				t.Errorf("%d calls took effect, want %d", srv.effects, test.effects)
			}
			if n := s.Calls("Commit"); n != 3 || s.Calls(commit) != 3 || s.Calls("Lookup") != 0 {
				t.Errorf("counted %d calls, want 3", n)
			}
			if unused := len(s.Unused()) > 0; unused != (test.rule == "Lookup") {
				t.Errorf("unused rules: %q", s.Unused())
			}
		})
	}
}

func TestDefaultError(t *testing.T) {
	var s fault.Script
	s.On("Commit", 1, fault.Fail(nil))
	s.On("Commit", 2, fault.Lose(nil))
	var srv server
	for range 2 {
		if err := srv.call(t.Context(), &s, commit); !errors.Is(err, fault.ErrInjected) {
			t.Errorf("error %v, want ErrInjected", err)
		}
	}
}

func TestRulesCountFromWhenTheyWereAdded(t *testing.T) {
	var s fault.Script
	var srv server
	s.On("*", 2, fault.Fail(nil))
	errs := []error{srv.call(t.Context(), &s, commit)}
	s.On("Commit", 1, fault.Fail(nil)) // meets the same call, and comes second
	for range 2 {
		errs = append(errs, srv.call(t.Context(), &s, commit))
	}
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("errors %v, want the second call's alone", errs)
	}
	if len(s.Unused()) != 1 {
		t.Errorf("unused %q, want the rule that came second", s.Unused())
	}
}

func TestGate(t *testing.T) {
	for _, test := range []struct {
		name    string
		stand   func(*fault.Gate) fault.Fault
		effects int // while the call is held
	}{
		{"before", (*fault.Gate).Before, 0},
		{"after", (*fault.Gate).After, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s fault.Script
				var srv server
				g := fault.NewGate()
				s.On("Commit", 0, test.stand(g))
				done := make(chan error, 1)
				go func() { done <- srv.call(t.Context(), &s, commit) }()
				<-g.Reached()
				synctest.Wait()
				if srv.effects != test.effects || len(done) != 0 {
					t.Errorf("while held: %d effects, %d answers", srv.effects, len(done))
				}
				g.Open()
				g.Open()
				if err := <-done; err != nil || srv.effects != 1 {
					t.Errorf("then: %v, %d effects", err, srv.effects)
				}
				if err := srv.call(t.Context(), &s, commit); err != nil {
					t.Errorf("through the open gate: %v", err)
				}
			})
		})
		t.Run(test.name+", until the context ends", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s fault.Script
				var srv server
				s.On("Commit", 1, test.stand(fault.NewGate()))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := srv.call(ctx, &s, commit); !errors.Is(err, context.DeadlineExceeded) || srv.effects != test.effects {
					t.Errorf("%v, %d effects", err, srv.effects)
				}
			})
		})
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fault.Script
		var srv server
		s.On("Commit", 0, fault.Delay(time.Hour))
		start := time.Now()
		if err := srv.call(t.Context(), &s, commit); err != nil || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := srv.call(ctx, &s, commit); !errors.Is(err, context.DeadlineExceeded) || srv.effects != 1 {
			t.Errorf("with a deadline: %v, %d effects", err, srv.effects)
		}
	})
}

func TestTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		l, err := n.Listen("worker.example:80")
		if err != nil {
			t.Fatal(err)
		}
		var effects atomic.Int64
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			effects.Add(1)
			io.WriteString(w, "answer")
		})}
		go srv.Serve(l)
		defer srv.Close()
		var s fault.Script
		s.On("POST /tasks", 1, fault.Fail(nil))
		s.On("POST /tasks", 2, fault.Lose(nil))
		client := &http.Client{Transport: s.Transport(&http.Transport{DialContext: n.DialContext})}
		defer client.CloseIdleConnections()
		for i, want := range []struct {
			fails   bool
			effects int64
		}{{true, 0}, {true, 1}, {false, 2}} {
			resp, err := client.Post("http://worker.example/tasks", "", strings.NewReader("{}"))
			if err == nil {
				resp.Body.Close()
			}
			if (err != nil) != want.fails || effects.Load() != want.effects {
				t.Errorf("request %d: %v, %d took effect; want error %v, %d", i, err, effects.Load(), want.fails, want.effects)
			}
		}
		if got := s.Unused(); len(got) != 0 {
			t.Errorf("unused: %q", got)
		}
	})
}

// echo answers every byte, and counts them.
func echo(t *testing.T, n *pipenet.Network, addr string) (effects *atomic.Int64) {
	l, err := n.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	effects = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for buf := make([]byte, 1); ; {
					if _, err := c.Read(buf); err != nil {
						return
					}
					effects.Add(1)
					if _, err := c.Write(buf); err != nil {
						return
					}
				}
			}()
		}
	}()
	return effects
}

// ask sends one byte and reads one.
func ask(c net.Conn) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// TestNoDialEscapesAnOutage: a dial that is under way when the network goes down
// doesn't come back with a connection.
func TestNoDialEscapesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		echo(t, n, "cache.example:11211")
		var d *fault.Dialer
		d = fault.NewDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.DialContext(ctx, network, addr)
			d.Refuse(true)
			d.Cut()
			return c, err
		}, nil)
		c, err := d.DialContext(t.Context(), "tcp", "cache.example:11211")
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want %v", err, syscall.ECONNREFUSED)
		}
	})
}

func TestDialer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		effects := echo(t, n, "cache.example:11211")
		var s fault.Script
		d := fault.NewDialer(n.DialContext, &s)
		dial := func() (net.Conn, error) { return d.DialContext(t.Context(), "tcp", "cache.example:11211") }
		must := func() net.Conn {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			return c
		}

		c := must()
		if err := ask(c); err != nil {
			t.Fatal(err)
		}
		d.Refuse(true)
		if _, err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("refused: %v", err)
		}
		if err := ask(c); err != nil {
			t.Errorf("refusing dials cut an open connection: %v", err)
		}
		d.Refuse(false)
		other := must()
		if cut := d.Cut(); cut != 2 {
			t.Errorf("cut %d connections, want 2", cut)
		}
		if ask(c) == nil || ask(other) == nil {
			t.Error("a cut connection works")
		}

		s.On("dial", 1, fault.Lose(nil))
		if _, err := dial(); !errors.Is(err, fault.ErrInjected) {
			t.Errorf("dial: %v", err)
		}
		before := effects.Load()
		for _, test := range []struct {
			op      string
			f       fault.Fault
			effects int64
		}{
			{"write", fault.Fail(syscall.EPIPE), 0},
			{"read cache.example:11211", fault.Lose(syscall.ECONNRESET), 1},
		} {
			c := must()
			s.On(test.op, 1, test.f)
			err := ask(c)
			if err == nil || effects.Load()-before != test.effects {
				t.Errorf("%s: %v, %d took effect; want an error and %d", test.op, err, effects.Load()-before, test.effects)
			}
			if err := ask(c); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: the connection goes on: %v", test.op, err)
			}
		}
		if got := s.Unused(); len(got) != 0 {
			t.Errorf("unused: %q", got)
		}
		if cut := d.Cut(); cut != 0 {
			t.Errorf("%d connections are left", cut)
		}
	})
}
