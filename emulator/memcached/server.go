package memcached

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// acceptPause is the first wait after accept failed for want of a
	// resource; it doubles up to acceptPauseMax.
	acceptPause    = 5 * time.Millisecond
	acceptPauseMax = time.Second

	// refusalTimeout bounds how long a refused connection may take to read
	// why.
	refusalTimeout = 100 * time.Millisecond
)

// A Server is an in-memory memcached. Create it with New.
type Server struct {
	opts   Options
	cache  *cache
	budget budget
	start  time.Time

	bytesRead, bytesWritten atomic.Uint64

	mu        sync.Mutex
	closed    bool
	done      chan struct{} // closed by Close
	lastID    uint64
	listeners map[net.Listener]uint64 // id
	conns     map[*conn]uint64        // id
	total     uint64
	rejected  uint64
	running   sync.WaitGroup // of Serve calls and connections
}

// New returns a server with an empty cache, or an error that names the option
// and the rule that it breaks. A nil o means the defaults.
func New(o *Options) (*Server, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts:      opts,
		cache:     newCache(&opts),
		start:     time.Now(),
		done:      make(chan struct{}),
		listeners: make(map[net.Listener]uint64),
		conns:     make(map[*conn]uint64),
	}
	s.budget.left.Store(opts.MaxBytes)
	return s, nil
}

// Serve accepts connections on l and serves them. It blocks, closes l in the
// end, and returns nil after Close. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.lastID++
	s.listeners[l] = s.lastID
	s.running.Add(1)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		s.running.Done()
	}()

	pause := acceptPause
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = acceptPause
			s.welcome(nc)
			continue
		}
		select {
		case <-s.done:
			return nil
		default:
		}
		if !isShortage(err) {
			return fmt.Errorf("memcached: accepting on %v: %w", l.Addr(), err)
		}
		s.opts.Logger.Warn("memcached: can't accept for now", slog.Any("error", err), slog.Duration("pause", pause))
		timer := time.NewTimer(pause)
		select {
		case <-s.done:
			timer.Stop()
			return nil
		case <-timer.C:
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

// isShortage reports whether accept may succeed later on the same listener.
func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// welcome serves nc, or turns it away where the server is full or closed.
func (s *Server) welcome(nc net.Conn) {
	s.mu.Lock()
	full := len(s.conns) >= s.opts.MaxConns
	if s.closed || full {
		if full {
			s.rejected++
		}
		s.mu.Unlock()
		if full {
			_ = nc.SetWriteDeadline(time.Now().Add(refusalTimeout))
			_, _ = nc.Write([]byte("ERROR Too many open connections\r\n"))
		}
		_ = nc.Close()
		return
	}
	defer s.mu.Unlock()
	s.lastID++
	s.total++
	c := newConn(s, nc)
	s.conns[c] = s.lastID
	s.running.Go(func() {
		defer func() {
			_ = nc.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
		c.serve()
	})
}

// Close closes the listeners and all connections and waits until nothing of
// the server runs. What it held is gone. Further calls do nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
		for l := range s.listeners {
			_ = l.Close()
		}
		for c := range s.conns {
			_ = c.nc.Close()
		}
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// A budget bounds the bytes of values and lines that have been announced but
// not received in full, over all connections: a client that never finishes
// can't hold more memory than the cache itself.
type budget struct{ left atomic.Int64 }

func (b *budget) take(n int) bool {
	if b.left.Add(-int64(n)) >= 0 {
		return true
	}
	b.give(n)
	return false
}

func (b *budget) give(n int) { b.left.Add(int64(n)) }
