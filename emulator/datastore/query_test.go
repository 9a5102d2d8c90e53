package datastore_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	ds "cloud.google.com/go/datastore"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

// TestBatches: what production answers about the end of a batch, recorded.
func TestBatches(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	var all []*pb.Mutation
	for i := range 700 {
		all = append(all, put("Many", fmt.Sprintf("%03d", i), int64(i)))
	}
	a.mustCommit(nil, all...)
	const notFinished, afterLimit, afterCursor, noMore = pb.QueryResultBatch_NOT_FINISHED,
		pb.QueryResultBatch_MORE_RESULTS_AFTER_LIMIT, pb.QueryResultBatch_MORE_RESULTS_AFTER_CURSOR, pb.QueryResultBatch_NO_MORE_RESULTS
	run := func(q *pb.Query) *pb.QueryResultBatch {
		t.Helper()
		q.Kind = []*pb.KindExpression{{Name: "Many"}}
		resp, err := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: q}})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetBatch()
	}
	fifth := run(&pb.Query{Limit: wrapperspb.Int32(5)}).GetEndCursor()
	for name, c := range map[string]struct {
		q                *pb.Query
		results, skipped int
		more             pb.QueryResultBatch_MoreResultsType
	}{
		"all":                      {&pb.Query{}, 300, 0, notFinished},
		"limit beyond a batch":     {&pb.Query{Limit: wrapperspb.Int32(301)}, 300, 0, notFinished},
		"limit":                    {&pb.Query{Limit: wrapperspb.Int32(200)}, 200, 0, afterLimit},
		"limit 0":                  {&pb.Query{Limit: wrapperspb.Int32(0)}, 0, 0, afterLimit},
		"limit at the end":         {&pb.Query{Offset: 600, Limit: wrapperspb.Int32(100)}, 100, 600, noMore},
		"offset":                   {&pb.Query{Offset: 650}, 50, 650, noMore},
		"offset beyond everything": {&pb.Query{Offset: 1000}, 0, 700, noMore},
		"to a cursor":              {&pb.Query{EndCursor: fifth}, 5, 0, afterCursor},
		"from a cursor":            {&pb.Query{StartCursor: fifth, Limit: wrapperspb.Int32(7)}, 7, 0, afterLimit},
	} {
		t.Run(name, func(t *testing.T) {
			b := run(c.q)
			if len(b.GetEntityResults()) != c.results || int(b.GetSkippedResults()) != c.skipped || b.GetMoreResults() != c.more {
				t.Errorf("%d results, %d skipped, %v; want %d, %d, %v",
					len(b.GetEntityResults()), b.GetSkippedResults(), b.GetMoreResults(), c.results, c.skipped, c.more)
			}
			if (len(b.GetSkippedCursor()) > 0) != (c.skipped > 0) {
				t.Errorf("skipped cursor %x after %d skipped", b.GetSkippedCursor(), c.skipped)
			}
		})
	}
	if n := len(mustResults(t, a, &pb.Query{Kind: []*pb.KindExpression{{Name: "Many"}}})); n != 700 {
		t.Errorf("%d results over all batches; want 700", n)
	}
}

func mustResults(t *testing.T, a api, q *pb.Query) []string {
	t.Helper()
	all, err := results(t.Context(), a, &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: q}})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// results runs a query to its end.
func results(ctx context.Context, c pb.DatastoreClient, req *pb.RunQueryRequest) ([]string, error) {
	req = proto.Clone(req).(*pb.RunQueryRequest)
	var all []string
	for {
		resp, err := c.RunQuery(ctx, req)
		if err != nil {
			return nil, err
		}
		batch := resp.GetBatch()
		for _, r := range batch.GetEntityResults() {
			all = append(all, entityText(r.GetEntity()))
		}
		if batch.GetMoreResults() != pb.QueryResultBatch_NOT_FINISHED {
			return all, nil
		}
		req.GetQuery().StartCursor = batch.GetEndCursor()
		req.GetQuery().Offset -= batch.GetSkippedResults()
		if l := req.GetQuery().GetLimit(); l != nil {
			l.Value -= int32(len(batch.GetEntityResults()))
		}
	}
}

// entityText renders an entity with its properties in order.
func entityText(e *pb.Entity) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return err.Error()
	}
	var path []string
	for _, p := range e.GetKey().GetPath() {
		path = append(path, fmt.Sprintf("%s:%v", p.GetKind(), p.GetIdType()))
	}
	var props []string
	for name, v := range e.GetProperties() {
		props = append(props, fmt.Sprintf("%s=%v", name, v))
	}
	if len(props) == 1 {
		return fmt.Sprintf("%v %v", path, strings.ReplaceAll(props[0], "  ", " "))
	}
	return fmt.Sprintf("%v %x", path, b)
}

// TestPagesAddUp: however a query is cut into pages, forth and back, the pages
// make up the whole.
func TestPagesAddUp(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		g := &generator{T: r, namespace: fmt.Sprintf("pages%d", n), arrays: true}
		for range 4 {
			_, _ = a.Commit(r.Context(), g.commit()) // some are refused
		}
		req := g.query()
		q := req.GetQuery()
		q.Offset, q.Limit = 0, nil
		whole, err := results(r.Context(), a, req)
		if err != nil {
			return
		}
		page := proto.Clone(req).(*pb.RunQueryRequest)
		page.GetQuery().Limit = wrapperspb.Int32(int32(rapid.IntRange(1, 3).Draw(r, "page")))
		var paged []string
		var cursors [][]byte
		for range len(whole) + 1 {
			resp, err := a.RunQuery(r.Context(), page)
			if err != nil {
				r.Fatal(err)
			}
			for _, e := range resp.GetBatch().GetEntityResults() {
				paged = append(paged, entityText(e.GetEntity()))
				cursors = append(cursors, e.GetCursor())
			}
			page.GetQuery().StartCursor = resp.GetBatch().GetEndCursor()
			if resp.GetBatch().GetMoreResults() == pb.QueryResultBatch_NO_MORE_RESULTS {
				break
			}
		}
		if diff := cmp.Diff(whole, paged); diff != "" {
			r.Fatalf("pages of %v (-whole +paged):\n%s", req, diff)
		}
		if len(whole) == 0 {
			return
		}
		// From the start to a result's cursor, and from there to the end.
		i := rapid.IntRange(0, len(whole)-1).Draw(r, "cut")
		head, tail := proto.Clone(req).(*pb.RunQueryRequest), proto.Clone(req).(*pb.RunQueryRequest)
		head.GetQuery().EndCursor, tail.GetQuery().StartCursor = cursors[i], cursors[i]
		front, _ := results(r.Context(), a, head)
		back, _ := results(r.Context(), a, tail)
		if diff := cmp.Diff(whole, append(front, back...)); diff != "" {
			r.Fatalf("%v cut after %d (-whole +parts):\n%s", req, i, diff)
		}
	})
}

// TestCursorsServeTheReverse: the cursor after a row, in the reversed query,
// stands before it.
func TestCursorsServeTheReverse(t *testing.T) {
	c := start(t, nil).client()
	ctx := t.Context()
	for i := range 10 {
		if _, err := c.Put(ctx, ds.IDKey("L", int64(i+1), nil), &counter{N: i / 2}); err != nil {
			t.Fatal(err)
		}
	}
	it := c.Run(ctx, ds.NewQuery("L").Order("N").Limit(5))
	for range 5 {
		if _, err := it.Next(nil); err != nil {
			t.Fatal(err)
		}
	}
	cursor, err := it.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := c.GetAll(ctx, ds.NewQuery("L").Order("-N").Start(cursor).KeysOnly(), nil)
	var ids []int64
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	if want := []int64{5, 4, 3, 2, 1}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %v, %v; want %v", ids, err, want)
	}
}

// TestProjectionsShowWhatIsStored: -0 is not 0, and an index row doesn't tell
// blobs from strings, but answers do.
func TestProjectionsShowWhatIsStored(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	minus := &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: math.Copysign(0, -1)}}
	a.mustCommit(nil, upsert(key("Z", "a"), "p", minus), upsert(key("Z", "b"), "p", array(integer(1), minus)),
		upsert(key("Z", "c"), "p", &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: []byte("\xff")}}))
	resp, err := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{
		Kind: []*pb.KindExpression{{Name: "Z"}}, Projection: []*pb.Projection{{Property: &pb.PropertyReference{Name: "p"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range resp.GetBatch().GetEntityResults() {
		v := r.GetEntity().GetProperties()["p"]
		switch x := v.GetValueType().(type) {
		case *pb.Value_DoubleValue:
			got = append(got, fmt.Sprint(math.Signbit(x.DoubleValue)))
		case *pb.Value_BlobValue:
			got = append(got, fmt.Sprintf("%x", x.BlobValue))
		default:
			got = append(got, fmt.Sprint(v.GetIntegerValue()))
		}
	}
	if want := []string{"1", "ff", "true", "true"}; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}
