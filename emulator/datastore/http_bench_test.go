package datastore_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// BenchmarkLookup is the same lookup in each dialect, with the least of a
// client: what the server and the transports cost.
func BenchmarkLookup(b *testing.B) {
	s, err := datastore.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close() })
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}}
	b.Cleanup(tr.CloseIdleConnections)
	client := &http.Client{Transport: tr}
	clients := map[string]pb.DatastoreClient{
		"grpc":          pb.NewDatastoreClient(conn),
		"http-protobuf": pb.NewDatastoreClient(overHTTP{java, client}),
		"http-json":     pb.NewDatastoreClient(overHTTP{curl, client}),
	}
	entity := &pb.Entity{Key: key("T", "a"), Properties: map[string]*pb.Value{
		"name": text("name-000001"), "shard": integer(1), "parity": text("odd"), "note": text("some text that nobody searches for"),
	}}
	_, err = clients["grpc"].Commit(b.Context(), &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL,
		Mutations: []*pb.Mutation{{Operation: &pb.Mutation_Upsert{Upsert: entity}}}})
	if err != nil {
		b.Fatal(err)
	}
	req := &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("T", "a")}}
	for _, name := range []string{"grpc", "http-protobuf", "http-json"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resp, err := clients[name].Lookup(b.Context(), req)
				if err != nil || len(resp.GetFound()) != 1 {
					b.Fatal(resp, err)
				}
			}
		})
	}
}
