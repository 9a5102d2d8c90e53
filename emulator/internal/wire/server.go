package wire

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// MaxMessage bounds a gRPC message and an HTTP request body, in bytes. It lies
// over Datastore's 10 MiB, so that servers can answer with their own error.
const MaxMessage = 16 << 20

const (
	sniffTimeout    = 30 * time.Second     // for the first bytes, and for HTTP headers
	readTimeout     = time.Minute          // for a whole HTTP/1.1 request to arrive; handlers may take longer
	idleTimeout     = 5 * time.Minute      // of an HTTP/1.1 connection
	closeGrace      = time.Second          // running requests may finish
	closeBound      = 5 * time.Second      // cancelled ones must
	acceptPause     = 5 * time.Millisecond // after a first shortage, then doubled
	maxAcceptPause  = time.Second
	defaultMaxConns = 10_000
)

// ErrHandlersRunning is returned by Close when handlers ignore their cancelled
// contexts.
var ErrHandlersRunning = errors.New("wire: handlers still run 5 s after their contexts were cancelled")

// A Server is one emulator's port. Set the fields before the first Serve.
type Server struct {
	GRPC       *grpc.Server // made with GRPCOptions; nil closes HTTP/2 connections
	HTTP       http.Handler // nil answers 404; it is wrapped by Guard
	AllowHosts []string     // further Hosts for Guard
	MaxConns   int          // open at once, further ones are closed; 10,000
	Logger     *slog.Logger // nil discards

	mu        sync.Mutex
	closed    bool
	started   bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{} // not handed over yet
	open      int
	grpcConns *handover
	httpConns *handover
	http      *http.Server
	cancel    context.CancelFunc // of every HTTP request
	running   sync.WaitGroup     // sniffers, the two inner servers, HTTP handlers
	drained   bool               // running is being waited for, no more may be added
	closing   chan struct{}      // closed when the first Close begins
	finished  chan struct{}      // closed when the first Close is done
	closeErr  error
}

// Serve accepts connections on l until Close, and then returns nil. It closes l
// in any case, and can be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.start(l) {
		return nil
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
	}()
	pause := acceptPause
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			s.admit(c)
		case s.isClosed():
			return nil
		case isShortage(err): // connections that end make room
			s.logger().Warn("accept failed, will retry", "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.closing:
				return nil
			}
			pause = min(2*pause, maxAcceptPause)
		default:
			return err
		}
	}
}

// isShortage reports whether accept may succeed later.
func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// start registers l, and starts the inner servers for the first listener. It
// reports false when the server has been closed.
func (s *Server) start(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if !s.started {
		s.started = true
		s.closing = make(chan struct{})
		s.listeners = map[net.Listener]struct{}{}
		s.conns = map[net.Conn]struct{}{}
		s.grpcConns, s.httpConns = newHandover(l.Addr()), newHandover(l.Addr())
		base, cancel := context.WithCancel(context.Background())
		s.cancel = cancel
		s.http = &http.Server{
			Handler:           s.counted(Guard(s.HTTP, s.AllowHosts)),
			BaseContext:       func(net.Listener) context.Context { return base },
			ReadHeaderTimeout: sniffTimeout,
			ReadTimeout:       readTimeout,
			IdleTimeout:       idleTimeout,
			ErrorLog:          slog.NewLogLogger(s.logger().Handler(), slog.LevelWarn),
		}
		s.running.Go(func() { _ = s.http.Serve(s.httpConns) }) // always ErrServerClosed
		if s.GRPC != nil {
			s.running.Go(func() {
				err := s.GRPC.Serve(s.grpcConns)
				if err != nil && !errors.Is(err, grpc.ErrServerStopped) { // closed before it started
					s.logger().Error("gRPC server stopped", "err", err)
				}
			})
		}
	}
	s.listeners[l] = struct{}{}
	return true
}

// counted lets Close wait for h.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.drained {
			s.mu.Unlock()
			http.Error(w, "the emulator is shutting down", http.StatusServiceUnavailable)
			return
		}
		s.running.Add(1)
		s.mu.Unlock()
		defer s.running.Done()
		h.ServeHTTP(w, r)
	})
}

// admit counts the connection and finds out its dialect.
func (s *Server) admit(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := cmp.Or(s.MaxConns, defaultMaxConns)
	if s.closed || s.open >= limit {
		if !s.closed {
			s.logger().Warn("connection refused: too many are open", "limit", limit, "from", c.RemoteAddr())
		}
		c.Close()
		return
	}
	s.open++
	s.conns[c] = struct{}{}
	s.running.Go(func() { s.route(c) })
}

// route hands the connection to the server that speaks its dialect.
func (s *Server) route(raw net.Conn) {
	c := &sniffed{Conn: raw, onClose: s.release}
	isHTTP2, err := c.sniff(sniffTimeout)
	s.mu.Lock()
	delete(s.conns, raw)
	s.mu.Unlock()
	switch {
	case err != nil:
		_ = c.Close()
	case !isHTTP2:
		s.httpConns.give(c)
	case s.GRPC != nil:
		s.grpcConns.give(c)
	default:
		_ = c.Close()
	}
}

func (s *Server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// Close stops the listeners, lets running requests finish for a second, then
// ends their connections and cancels them, and waits for the handlers for five
// more: ErrHandlersRunning says that some did not end. Later calls wait for the
// first one and return the same.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		finished := s.finished
		s.mu.Unlock()
		<-finished
		return s.closeErr
	}
	s.closed = true
	s.finished = make(chan struct{})
	defer close(s.finished)
	started := s.started
	if started {
		close(s.closing)
	}
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	if !started {
		if s.GRPC != nil {
			s.GRPC.Stop() // it has goroutines from the start
		}
		return nil
	}

	done := make(chan struct{})
	go func() {
		defer close(done)
		s.drain()
	}()
	bound := time.NewTimer(closeGrace + closeBound)
	defer bound.Stop()
	select {
	case <-done:
	case <-bound.C:
		s.closeErr = ErrHandlersRunning
	}
	return s.closeErr
}

// drain ends both inner servers, gracefully for closeGrace and then not, and
// waits for what they run.
func (s *Server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() {
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close() // whatever it says, Shutdown has closed the listener
		}
	})
	if s.GRPC != nil {
		both.Go(func() {
			stop := context.AfterFunc(ctx, s.GRPC.Stop)
			defer stop()
			s.GRPC.GracefulStop()
		})
	}
	both.Wait()
	s.cancel()
	s.mu.Lock()
	s.drained = true
	s.mu.Unlock()
	s.running.Wait()
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}
