package datastore_test

import (
	"errors"
	"fmt"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/proto"
)

// blob is an entity of nearly as many bytes as its data.
type blob struct {
	N    int
	Data []byte `datastore:",noindex"`
}

// TestAnswersFitTheClient: gRPC refuses answers over 4 MiB, so nothing that the
// official client asks for may bring one, and yet it gets everything.
func TestAnswersFitTheClient(t *testing.T) {
	for _, c := range []struct{ entities, size int }{{5, 1_000_000}, {4, 1<<20 - 200}, {400, 20_000}} {
		t.Run(fmt.Sprintf("%d of %d bytes", c.entities, c.size), func(t *testing.T) {
			client := start(t, nil).client()
			ctx := t.Context()
			keys := make([]*ds.Key, c.entities)
			for i := range keys {
				keys[i] = ds.IDKey("Blob", int64(i+1), nil)
				if _, err := client.Put(ctx, keys[i], &blob{N: i, Data: make([]byte, c.size)}); err != nil {
					t.Fatal(err)
				}
			}
			check := func(how string, all []blob, err error) {
				t.Helper()
				if err != nil || len(all) != c.entities {
					t.Errorf("%s: %d entities, %v; want %d", how, len(all), err, c.entities)
					return
				}
				for i, b := range all {
					if b.N != i || len(b.Data) != c.size {
						t.Errorf("%s: entity %d is number %d with %d bytes", how, i, b.N, len(b.Data))
						return
					}
				}
			}
			queries := map[string]*ds.Query{
				"by kind":   ds.NewQuery("Blob"),
				"by order":  ds.NewQuery("Blob").Order("N"),
				"by filter": ds.NewQuery("Blob").FilterField("N", ">=", 0),
			}
			for how, q := range queries {
				var all []blob
				_, err := client.GetAll(ctx, q, &all)
				check("GetAll "+how, all, err)
			}
			all := make([]blob, c.entities)
			check("GetMulti", all, client.GetMulti(ctx, keys, all))

			inTx := func(mode string, read func(*ds.Transaction) ([]blob, error), opts ...ds.TransactionOption) {
				t.Helper()
				_, err := client.RunInTransaction(ctx, func(tx *ds.Transaction) error {
					all, err := read(tx)
					check(mode, all, err)
					if mode != "read-write" {
						return nil
					}
					_, err = tx.Put(keys[len(keys)-1], &all[len(all)-1])
					return err
				}, opts...)
				if err != nil {
					t.Errorf("%s: %v", mode, err)
				}
			}
			getMulti := func(tx *ds.Transaction) ([]blob, error) {
				all := make([]blob, c.entities)
				return all, tx.GetMulti(keys, all)
			}
			getAll := func(tx *ds.Transaction) (all []blob, err error) {
				_, err = client.GetAll(ctx, ds.NewQuery("Blob").Transaction(tx), &all)
				return all, err
			}
			inTx("read-write", getMulti)
			inTx("read-write", getAll)
			inTx("read-only", getMulti, ds.ReadOnly)
			inTx("read-only", getAll, ds.ReadOnly)
			inTx("begin later", getAll, ds.BeginLater)
			// The last one, and it only reads: for the keys deferred this client begins
			// transactions that it then forgets, which keep their locks until they expire.
			inTx("begin later", getMulti, ds.BeginLater)

			// Pages of three, each from the last one's cursor; and past an offset.
			var paged []blob
			q := ds.NewQuery("Blob").Order("N").Limit(3)
			for {
				n := 0
				it := client.Run(ctx, q)
				for {
					var b blob
					if _, err := it.Next(&b); errors.Is(err, iterator.Done) {
						break
					} else if err != nil {
						t.Fatal(err)
					}
					paged = append(paged, b)
					n++
				}
				if n == 0 {
					break
				}
				cursor, err := it.Cursor()
				if err != nil {
					t.Fatal(err)
				}
				q = q.Start(cursor)
			}
			check("pages", paged, nil)
			all = []blob{{Data: make([]byte, c.size)}}
			_, err := client.GetAll(ctx, ds.NewQuery("Blob").Order("N").Offset(1), &all)
			check("past an offset", all, err)
		})
	}
}

// TestAnswerSizes: answers are as large as they may be, keys and cursors count,
// and a batch that ended early says so even where the limit would have been.
func TestAnswerSizes(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	ctx := t.Context()
	const limit = 4 << 20
	long := string(make([]byte, 1500)) // twice as long in a cursor
	var keys []*pb.Key
	for i := range 300 {
		k := path(named("Deep", long), named("Deep", long), named("Deep", fmt.Sprintf("%03d", i)))
		keys = append(keys, k)
		a.mustCommit(nil, upsert(k, "p", unindexed(10_000)))
	}
	for name, q := range map[string]*pb.Query{
		"entities":  {},
		"keys only": {Projection: []*pb.Projection{{Property: &pb.PropertyReference{Name: "__key__"}}}},
	} {
		q.Kind = []*pb.KindExpression{{Name: "Deep"}}
		n := 0
		for more := true; more; {
			resp, err := a.RunQuery(ctx, &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: q}})
			if err != nil {
				t.Fatal(name, err)
			}
			b := resp.GetBatch()
			n += len(b.GetEntityResults())
			more = b.GetMoreResults() == pb.QueryResultBatch_NOT_FINISHED
			if size := proto.Size(resp); size > limit || more && size < limit-100_000 {
				t.Errorf("%s: %d bytes in a batch with %v", name, size, b.GetMoreResults())
			}
			q.StartCursor = b.GetEndCursor()
		}
		if n != len(keys) {
			t.Errorf("%s: %d results; want %d", name, n, len(keys))
		}
	}
	// With as many keys that are missing.
	for i := range 300 {
		keys = append(keys, path(named("Deep", long), named("None", long), named("Deep", fmt.Sprintf("%03d", i))))
	}
	found, missing := 0, 0
	for len(keys) > 0 {
		resp, err := a.Lookup(ctx, &pb.LookupRequest{ProjectId: project, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		if size := proto.Size(resp); size > limit || len(resp.GetDeferred()) > 0 && size < limit-100_000 {
			t.Errorf("a lookup answer of %d bytes that defers %d", size, len(resp.GetDeferred()))
		}
		found += len(resp.GetFound())
		missing += len(resp.GetMissing())
		if len(resp.GetDeferred()) >= len(keys) {
			t.Fatalf("all of %d keys deferred", len(keys))
		}
		keys = resp.GetDeferred()
	}
	if found != 300 || missing != 300 {
		t.Errorf("found %d, missing %d; want 300 each", found, missing)
	}
}

// TestGQLAnswerSizes: the query that an answer repeats counts, and so does what
// explaining adds.
func TestGQLAnswerSizes(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	for i := range 300 {
		m := upsert(path(numbered("B", int64(i+1))), "data", unindexed(15_000))
		m.GetUpsert().Properties["s"] = text("x")
		a.mustCommit(nil, m)
	}
	list := []*pb.Value{text("x")}
	for i := range 29 {
		list = append(list, text(fmt.Sprintf("%01500d", i)))
	}
	req := &pb.RunQueryRequest{ProjectId: project, ExplainOptions: &pb.ExplainOptions{Analyze: true},
		QueryType: &pb.RunQueryRequest_GqlQuery{GqlQuery: gqlQuery("SELECT * FROM B WHERE s IN @1 OFFSET @2", nil,
			boundValue(array(list...)), boundCursor(nil))}}
	n := 0
	for more := true; more; {
		resp, err := a.RunQuery(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		b := resp.GetBatch()
		n += len(b.GetEntityResults())
		more = b.GetMoreResults() == pb.QueryResultBatch_NOT_FINISHED
		req.GetGqlQuery().PositionalBindings[1] = boundCursor(b.GetEndCursor())
	}
	if n != 300 {
		t.Errorf("%d results; want 300", n)
	}
}
