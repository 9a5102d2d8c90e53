package dispatch

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/identity"
)

// worker serves handler on a real socket and counts connections.
func worker(t *testing.T, handler http.HandlerFunc) (url string, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	s := httptest.NewUnstartedServer(handler)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, connections
}

func deliverTo(t *testing.T, d *Dispatcher, url string) engine.Result {
	t.Helper()
	task := httpTask(&pb.HttpRequest{Url: url, Body: []byte("payload")})
	task.DispatchDeadline = durationpb.New(20 * time.Second)
	return d.Deliver(t.Context(), &engine.Delivery{Queue: "q", ID: "t", Spec: marshal(t, task)})
}

func own(t *testing.T) *Dispatcher {
	t.Helper()
	transport := NewTransport(2)
	t.Cleanup(transport.CloseIdleConnections)
	return &Dispatcher{Transport: transport, Tokens: identity.New(""), Logger: slog.New(slog.DiscardHandler)}
}

// Answers are read to their end, up to a bound: only beyond it a connection is
// given up.
func TestConnectionsAreUsedAgain(t *testing.T) {
	for _, tt := range []struct {
		bytes int
		reuse bool
	}{{0, true}, {100 << 10, true}, {maxAnswerBody, true}, {maxAnswerBody + (1 << 20), false}} {
		url, connections := worker(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusTeapot)
			io.Copy(w, io.LimitReader(zeros{}, int64(tt.bytes)))
		})
		d := own(t)
		for range 5 {
			if r := deliverTo(t, d, url); r.Status != http.StatusTeapot || !r.Responded {
				t.Errorf("%d bytes: %+v", tt.bytes, r)
			}
		}
		if n := connections.Load(); tt.reuse != (n == 1) {
			t.Errorf("5 answers of %d bytes over %d connections", tt.bytes, n)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// What a target sends before its answer is bounded too.
func TestHeadersAreBounded(t *testing.T) {
	for name, flood := range map[string]string{
		"a header that is too long":      "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 2*maxAnswerHeader) + "\r\n\r\n",
		"too many headers":               "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Many: "+strings.Repeat("x", 100)+"\r\n", 4000) + "\r\n",
		"informational answers, no last": strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n", 4000),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					io.WriteString(c, flood)
					io.Copy(io.Discard, c) // until the other side gives up
				}()
			}
		}()
		if r := deliverTo(t, own(t), "http://"+l.Addr().String()); r.Done || r.Responded || r.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// One that is just within the bound, and some informational answers, are fine.
	url, _ := worker(t, func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Set("X-Long", strings.Repeat("x", maxAnswerHeader/2))
	})
	if r := deliverTo(t, own(t), url); !r.Done {
		t.Errorf("a long header: %+v", r)
	}
}
