package datastore_test

import (
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestErrorsQuoteLittle: an error goes into a header, so whatever a client
// sends, it gets back no more than shows what was meant.
func TestErrorsQuoteLittle(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	ctx := t.Context()
	commit := func(project, database string, ms ...*pb.Mutation) error {
		_, err := a.Commit(ctx, &pb.CommitRequest{ProjectId: project, DatabaseId: database, Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: ms})
		return err
	}
	in := func(p *pb.PartitionId) *pb.Mutation {
		return insert(&pb.Key{PartitionId: p, Path: key("A", "n").Path})
	}
	query := func(q *pb.Query) error {
		_, err := a.RunQuery(ctx, &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: q}})
		return err
	}
	filter := func(name string, op pb.PropertyFilter_Operator) *pb.Filter {
		return &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
			Property: &pb.PropertyReference{Name: name}, Op: op, Value: integer(1)}}}
	}
	kind := []*pb.KindExpression{{Name: "A"}}
	twice := func(name string) []*pb.PropertyReference { return []*pb.PropertyReference{{Name: name}, {Name: name}} }
	for _, size := range []int{9 << 20, 10 << 20} { // less than a request may have, and more
		if err := commit(strings.Repeat("x", size), ""); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a project of %d bytes: %.300v", size, err)
		}
	}
	for _, size := range []int{2000, 1 << 18} {
		long := strings.Repeat("x\x00€", size/5)
		var orders []*pb.PropertyOrder
		var projections []*pb.Projection
		for _, p := range twice(long) {
			orders = append(orders, &pb.PropertyOrder{Property: p})
			projections = append(projections, &pb.Projection{Property: p})
		}
		incomplete := path(&pb.Key_PathElement{Kind: "A"}, named(long, "n"))
		for what, send := range map[string]func() error{
			"project":         func() error { return commit(long, "") },
			"database":        func() error { return commit(project, long) },
			"key's project":   func() error { return commit(project, "", in(&pb.PartitionId{ProjectId: long})) },
			"key's database":  func() error { return commit(project, "", in(&pb.PartitionId{DatabaseId: long})) },
			"namespace":       func() error { return commit(project, "", in(&pb.PartitionId{NamespaceId: long})) },
			"kind":            func() error { return commit(project, "", insert(key(long, "n"))) },
			"reserved kind":   func() error { return commit(project, "", insert(key("__"+long+"__", "n"))) },
			"name":            func() error { return commit(project, "", insert(key("A", long))) },
			"path":            func() error { return commit(project, "", insert(incomplete)) },
			"property":        func() error { return commit(project, "", upsert(key("A", "n"), long, integer(1))) },
			"string":          func() error { return commit(project, "", upsert(key("A", "n"), "p", text(long))) },
			"filter, no kind": func() error { return query(&pb.Query{Filter: filter(long, pb.PropertyFilter_EQUAL)}) },
			"filter":          func() error { return query(&pb.Query{Kind: kind, Filter: filter(long, 99)}) },
			"order":           func() error { return query(&pb.Query{Kind: kind, Order: orders}) },
			"projection":      func() error { return query(&pb.Query{Kind: kind, Projection: projections}) },
			"cursor":          func() error { return query(&pb.Query{Kind: kind, StartCursor: []byte(long)}) },
			"property mask": func() error {
				m := put("A", "n", 1)
				m.PropertyMask = &pb.PropertyMask{Paths: []string{"", "__" + long + "__"}}
				return commit(project, "", m)
			},
		} {
			err := send()
			if message := status.Convert(err).Message(); status.Code(err) != codes.InvalidArgument || len(message) > 3000 {
				t.Errorf("%s of %d bytes: %v, %d bytes: %.300s", what, size, status.Code(err), len(message), message)
			}
		}
	}
	// Names of lengths that are allowed, as many as a key takes.
	name := strings.Repeat("\x01", 1500)
	k := path(named("A", name), named("B", name), named("C", name))
	a.mustCommit(nil, insert(k))
	if err := a.commit(ctx, nil, insert(k)); status.Code(err) != codes.AlreadyExists || len(status.Convert(err).Message()) > 6000 {
		t.Errorf("%d bytes: %v", len(status.Convert(err).Message()), status.Code(err))
	}
	if names := strings.Repeat("p", 100); commit(names, names, in(&pb.PartitionId{ProjectId: names, DatabaseId: "d"})) == nil {
		t.Error("mismatched databases accepted")
	} else if got, want := status.Convert(commit(names, names, in(&pb.PartitionId{ProjectId: names, DatabaseId: "d"}))).Message(),
		"mismatched databases within request: <unknown!>~"+names+"#"+names+" vs. <unknown!>~"+names+"#d"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}
