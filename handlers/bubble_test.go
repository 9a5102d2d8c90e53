package handlers_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	dsclient "cloud.google.com/go/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/internal/pipenet"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// bubble runs f with a world of its own, in fake time.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := pipenet.New()
		emulator, err := datastore.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("datastore:80")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- emulator.Serve(l) }()

		w := &world{T: t, queue: &taskstest.Queue{}, locks: memlocktest.NewStore(), rpcs: &rpcs{}}
		w.ds = dial(t, net, grpc.WithUnaryInterceptor(w.rpcs.intercept))
		defer func() {
			w.ds.Close()
			if err := emulator.Close(); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		}()
		w.client = w.newClient()
		f(t, w)
	})
}

// dial makes an unmodified Datastore client over the in-memory network.
func dial(t *testing.T, n *pipenet.Network, opts ...grpc.DialOption) *dsclient.Client {
	o := []option.ClientOption{option.WithEndpoint("passthrough:///datastore:80"), option.WithoutAuthentication()}
	opts = append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return n.DialContext(ctx, "tcp", addr) }))
	for _, opt := range opts {
		o = append(o, option.WithGRPCDialOption(opt))
	}
	c, err := dsclient.NewClient(t.Context(), "p", o...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sleep lets fake time pass: all tests of this package run in bubbles.
func sleep(d time.Duration) { time.Sleep(d) }
