package apiserver

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// maxRequest bounds what is read: memcache takes values of up to 1 MiB.
const maxRequest = 2 << 20

// A Server is a memcache behind the bridge. It serves POST /rpc_http.
type Server struct {
	mu      sync.Mutex
	now     time.Time
	entries map[string]*entry // by namespace and key
	cas     uint64            // the last one given out
	hits    uint64
	misses  uint64
	meet    func(method string, serve func()) bool
}

type entry struct {
	value   []byte
	flags   uint32
	cas     uint64
	expires time.Time // zero: never
}

// New returns an empty Server.
func New() *Server {
	return &Server{now: time.Unix(1_800_000_000, 333_000_000), entries: map[string]*entry{}}
}

// Advance lets time pass for the entries.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// On has meet decide about each call: it may call serve, which makes it take
// effect, and answers whether the caller gets its answer.
func (s *Server) On(meet func(method string, serve func()) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meet = meet
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/rpc_http" {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	var req remoteRequest
	if err := decode("remote_api.v2.Request", body, &req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer []byte
	serve := func() { answer = s.call(&req) }
	s.mu.Lock()
	meet := s.meet
	s.mu.Unlock()
	if meet == nil {
		serve()
	} else if !meet(req.Method, serve) {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(answer) // the caller may be gone
}

// call performs a request and encodes its answer.
func (s *Server) call(req *remoteRequest) []byte {
	if req.ServiceName != "memcache" {
		return failed(callNotFound, "there is no service "+req.ServiceName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch req.Method {
	case "Get":
		return handle(req, "MemcacheGet", s.get)
	case "Set":
		return handle(req, "MemcacheSet", s.set)
	case "Delete":
		return handle(req, "MemcacheDelete", s.delete)
	case "Stats":
		return handle(req, "MemcacheStats", s.stats)
	default:
		return failed(callNotFound, "memcache has no method "+req.Method)
	}
}

// Handle answers the body of one HTTP request, for fuzzing.
func (s *Server) Handle(body []byte) ([]byte, error) {
	var req remoteRequest
	if err := decode("remote_api.v2.Request", body, &req); err != nil {
		return nil, err
	}
	return s.call(&req), nil
}
