package diff

import (
	"context"
	"net"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/internal/pipenet"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// serve returns a client of our server.
func serve(t *testing.T, concurrency string) pb.DatastoreClient {
	t.Helper()
	s, err := datastore.New(&datastore.Options{Concurrency: concurrency, IndexMode: "off"})
	if err != nil {
		t.Fatal(err)
	}
	network := pipenet.New()
	l, err := network.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return network.DialContext(ctx, "tcp", addr) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return pb.NewDatastoreClient(conn)
}
