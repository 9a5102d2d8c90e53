package datastore_test

import (
	"context"
	"errors"
	"net"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/internal/pipenet"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// project is the one that the tests use.
const project = "proj"

// env is a server with clients, all in memory.
type env struct {
	*datastore.Server
	t    testing.TB
	net  *pipenet.Network
	addr string
}

// start runs a server until the test ends.
func start(t testing.TB, o *datastore.Options) *env {
	t.Helper()
	s, err := datastore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	e := &env{Server: s, t: t, net: pipenet.New()}
	l, err := e.net.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = l.Addr().String()
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
	return e
}

func (e *env) dial() *grpc.ClientConn {
	e.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+e.addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return e.net.DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// raw returns a client of the bare API.
func (e *env) raw() pb.DatastoreClient { return pb.NewDatastoreClient(e.dial()) }

// client returns the official client for the default database.
func (e *env) client() *ds.Client {
	e.t.Helper()
	c, err := ds.NewClient(e.t.Context(), project, option.WithGRPCConn(e.dial()))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = c.Close() })
	return c
}

type counter struct {
	N    int
	Note string `datastore:",noindex"`
}

func TestPutGetDelete(t *testing.T) {
	c := start(t, nil).client()
	ctx := t.Context()
	key := ds.NameKey("Counter", "a", ds.IDKey("Parent", 7, nil))

	var got counter
	if err := c.Get(ctx, key, &got); !errors.Is(err, ds.ErrNoSuchEntity) {
		t.Fatalf("get of a missing entity: %v", err)
	}
	want := counter{N: 1, Note: "first"}
	if _, err := c.Put(ctx, key, &want); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(ctx, key, &got); err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	auto, err := c.Put(ctx, ds.IncompleteKey("Counter", nil), &want)
	if err != nil || auto.Incomplete() {
		t.Fatalf("put under an incomplete key: %v, %v", auto, err)
	}
	if n, err := c.Count(ctx, ds.NewQuery("Counter")); err != nil || n != 2 {
		t.Fatalf("count %d, %v; want 2", n, err)
	}
	if err := c.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(ctx, key, &got); !errors.Is(err, ds.ErrNoSuchEntity) {
		t.Fatalf("get after delete: %v", err)
	}
	var all []counter
	keys, err := c.GetAll(ctx, ds.NewQuery("Counter").FilterField("N", "=", 1), &all)
	if err != nil || len(all) != 1 || all[0] != want || !keys[0].Equal(auto) {
		t.Fatalf("query: %v %+v %v", keys, all, err)
	}
}

func TestReadModifyWriteUnderContention(t *testing.T) {
	e := start(t, nil)
	ctx := t.Context()
	key := ds.NameKey("Counter", "hot", nil)
	const workers, rounds = 16, 20
	done := make(chan error, workers)
	for range workers {
		c := e.client()
		go func() {
			for range rounds {
				_, err := c.RunInTransaction(ctx, func(tx *ds.Transaction) error {
					var n counter
					if err := tx.Get(key, &n); err != nil && !errors.Is(err, ds.ErrNoSuchEntity) {
						return err
					}
					n.N++
					_, err := tx.Put(key, &n)
					return err
				}, ds.BeginLater)
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var n counter
	if err := e.client().Get(ctx, key, &n); err != nil || n.N != workers*rounds {
		t.Errorf("counted to %d, %v; want %d", n.N, err, workers*rounds)
	}
	if st := e.Stats(); st.Aborts != 0 || st.OpenTransactions != 0 || st.WaitingRequests != 0 {
		t.Errorf("aborts %d, open %d, waiting %d; want none", st.Aborts, st.OpenTransactions, st.WaitingRequests)
	}
}
