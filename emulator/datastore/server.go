package datastore

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/protocol"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"github.com/latchwork/latchwork/emulator/internal/journal"
	"github.com/latchwork/latchwork/emulator/internal/wire"
	"github.com/latchwork/latchwork/emulator/internal/wire/transcode"
	"google.golang.org/grpc"
)

// Options for New; nil and the zero value mean the defaults stated.
type Options struct {
	Dir        string       // data folder, created if need be; "" keeps everything in memory
	Fsync      string       // never, interval (the default) or always
	Logger     *slog.Logger // nil discards
	AllowHosts []string     // further Host names for the HTTP side, beside loopback ones

	// Concurrency is how transactions exclude each other: "pessimistic" (the
	// default) or "optimistic". See internal/transactions.
	Concurrency     string
	TransactionIdle time.Duration // 60 s: a transaction without requests for so long expires
	TransactionMax  time.Duration // 270 s: every transaction expires after so long

	// Shutdown is called when a client asks for it (POST /shutdown); nil
	// answers such requests with 404.
	Shutdown func()
}

// Server is a running Datastore stand-in.
type Server struct {
	service *protocol.Service
	store   *storage.Store
	wire    *wire.Server

	closing  sync.Once
	closeErr error
}

// New opens the data folder, if there is one, and returns a server that is
// ready to serve. The error names the option or the folder that is wrong.
func New(o *Options) (*Server, error) {
	if o == nil {
		o = &Options{}
	}
	var optimistic bool
	switch o.Concurrency {
	case "", "pessimistic":
	case "optimistic":
		optimistic = true
	default:
		return nil, fmt.Errorf("datastore: concurrency %q: must be pessimistic or optimistic", o.Concurrency)
	}
	if o.TransactionIdle < 0 || o.TransactionMax < 0 {
		return nil, fmt.Errorf("datastore: transaction idle %v, max %v: must not be negative", o.TransactionIdle, o.TransactionMax)
	}
	fsync, err := journal.ParseFsync(o.Fsync)
	if err != nil {
		return nil, fmt.Errorf("datastore: %w", err)
	}
	store, err := storage.Open(&storage.Options{Dir: o.Dir, Fsync: fsync, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("datastore: %w", err)
	}
	s := &Server{store: store}
	s.service = protocol.New(store, transactions.Options{
		Optimistic: optimistic, Idle: o.TransactionIdle, Max: o.TransactionMax,
	})
	interceptors := []grpc.UnaryServerInterceptor{s.service.Count, s.service.Bound}
	g := grpc.NewServer(append(wire.GRPCOptions(), grpc.ChainUnaryInterceptor(interceptors...))...)
	s.register(g)
	api, err := transcode.New(&transcode.Options{Interceptors: interceptors, BadBody: badBody}, s.register)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("datastore: %w", err), store.Close())
	}
	s.wire = &wire.Server{GRPC: g, HTTP: s.endpoints(api, o.Shutdown), AllowHosts: o.AllowHosts, Logger: o.Logger}
	return s, nil
}

// register registers every service, for gRPC and for HTTP.
func (s *Server) register(r grpc.ServiceRegistrar) {
	pb.RegisterDatastoreServer(r, s.service)
}

// Serve serves l until Close and then returns nil. It may be called for several
// listeners at once.
func (s *Server) Serve(l net.Listener) error { return s.wire.Serve(l) }

// Close stops serving, ends all transactions and closes the data folder. When
// it returns, nothing of the server runs. Closing again does nothing.
func (s *Server) Close() error {
	s.closing.Do(func() {
		// The transactions go first: what waits for a lock ends at once.
		s.service.Close()
		err := s.wire.Close()
		s.service.Close()
		s.closeErr = errors.Join(err, s.store.Close())
	})
	return s.closeErr
}
