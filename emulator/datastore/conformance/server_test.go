package conformance_test

import (
	"net"
	"testing"

	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// server is an emulator on a port of this machine.
type server struct {
	*datastore.Server
	addr string
}

// serve starts one until the test ends.
func serve(t *testing.T, o *datastore.Options) *server {
	t.Helper()
	s, err := datastore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &server{Server: s, addr: l.Addr().String()}
}

func dial(t *testing.T, s *server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
