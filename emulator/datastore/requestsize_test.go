package datastore_test

import (
	"fmt"
	"strings"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestRequestSize: a request has at most 10 MiB, and one that has more changes
// nothing and costs nobody the connection.
func TestRequestSize(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	write := func(kind string, n int) error {
		var ms []*pb.Mutation
		for i := range n {
			ms = append(ms, upsert(key(kind, fmt.Sprint(i)), "p", unindexed(1_040_000)))
		}
		return a.commit(t.Context(), nil, ms...)
	}
	if err := write("Fits", 10); err != nil {
		t.Errorf("10.4 MB: %v", err)
	}
	err := write("Over", 11)
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), "at most 10485760 bytes") {
		t.Errorf("11.4 MB: %v; want InvalidArgument with the rule", err)
	}
	a.mustGet(nil, "Over", "0", -1)
}

// TestTransactionSize: masks make little requests write much.
func TestTransactionSize(t *testing.T) {
	e := start(t, nil)
	a := api{e.raw(), t}
	var all []*pb.Mutation
	for i := range 11 {
		k := key("Large", fmt.Sprint(i))
		a.mustCommit(nil, upsert(k, "p", unindexed(1_000_000)))
		m := upsert(k, "n", integer(1))
		m.PropertyMask = &pb.PropertyMask{Paths: []string{"n"}}
		all = append(all, m)
	}
	a.mustCommit(nil, all[:10]...)
	for _, tx := range [][]byte{nil, a.begin(nil)} {
		err := a.commit(t.Context(), tx, all...)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), "at most 10485760 bytes") {
			t.Errorf("11 MB: %v; want InvalidArgument with the rule", err)
		}
		if tx != nil {
			a.rollback(tx)
		}
	}
	if n, err := e.client().Count(t.Context(), ds.NewQuery("Large").FilterField("n", "=", 1)); err != nil || n != 10 {
		t.Errorf("%d were changed, %v; want the 10 of before", n, err)
	}
}
