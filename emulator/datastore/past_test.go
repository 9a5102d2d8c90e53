package datastore_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func at(t time.Time) *pb.ReadOptions {
	return &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadTime{ReadTime: timestamppb.New(t)}}
}

func readOnlyAt(t time.Time) *pb.TransactionOptions {
	return &pb.TransactionOptions{Mode: &pb.TransactionOptions_ReadOnly_{ReadOnly: &pb.TransactionOptions_ReadOnly{ReadTime: timestamppb.New(t)}}}
}

// seen is what the three ways to read say about two entities of the kind P.
func seen(t *testing.T, a api, o *pb.ReadOptions) (s string, tx []byte) {
	t.Helper()
	query := &pb.Query{Kind: []*pb.KindExpression{{Name: "P"}}, Order: []*pb.PropertyOrder{{Property: &pb.PropertyReference{Name: "n"}}}}
	look, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, ReadOptions: o, Keys: []*pb.Key{key("P", "a"), key("P", "b")}})
	if err != nil {
		t.Fatal(err)
	}
	if tx = look.GetTransaction(); tx != nil {
		o = inTx(tx)
	}
	run, err := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project, ReadOptions: o, QueryType: &pb.RunQueryRequest_Query{Query: query}})
	if err != nil {
		t.Fatal(err)
	}
	count, err := a.RunAggregationQuery(t.Context(), &pb.RunAggregationQueryRequest{ProjectId: project, ReadOptions: o,
		QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
			QueryType: &pb.AggregationQuery_NestedQuery{NestedQuery: query},
			Aggregations: []*pb.AggregationQuery_Aggregation{{Alias: "n", Operator: &pb.AggregationQuery_Aggregation_Count_{
				Count: &pb.AggregationQuery_Aggregation_Count{}}}},
		}}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	show := func(results []*pb.EntityResult) {
		for _, r := range results {
			fmt.Fprintf(&b, "%s=%d@%d created %d ", r.GetEntity().GetKey().GetPath()[0].GetName(), r.GetEntity().GetProperties()["n"].GetIntegerValue(),
				r.GetVersion(), r.GetCreateTime().AsTime().UnixMicro())
		}
		b.WriteString("| ")
	}
	show(look.GetFound())
	show(look.GetMissing())
	show(run.GetBatch().GetEntityResults())
	fmt.Fprintf(&b, "%d | read at", count.GetBatch().GetAggregationResults()[0].GetAggregateProperties()["n"].GetIntegerValue())
	for _, r := range []*timestamppb.Timestamp{look.GetReadTime(), run.GetBatch().GetReadTime(), count.GetBatch().GetReadTime()} {
		fmt.Fprintf(&b, " %v", r.AsTime().UnixMicro())
	}
	return b.String(), tx
}

// TestReadTime: what strong reads showed at some time is what reads at that time
// show later, times and versions included, in all ways to ask for it.
func TestReadTime(t *testing.T) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := api{start(t, &datastore.Options{Concurrency: mode}).raw(), t}
				type view struct {
					time time.Time
					says string
				}
				var views []view
				step := func(ms ...*pb.Mutation) {
					if len(ms) > 0 {
						a.mustCommit(nil, ms...)
					}
					now, _ := seen(t, a, nil)
					views = append(views, view{time.Now(), now})
					time.Sleep(10 * time.Minute)
				}
				step()
				step(put("P", "a", 1))
				step(put("P", "a", 2), put("P", "b", 1))
				step(remove(key("P", "a")))
				step(put("P", "a", 3))
				for _, v := range views {
					got, _ := seen(t, a, at(v.time))
					if diff := cmp.Diff(v.says, got); diff != "" {
						t.Errorf("read_time (-then +now):\n%s", diff)
					}
					got, tx := seen(t, a, &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_NewTransaction{NewTransaction: readOnlyAt(v.time)}})
					if diff := cmp.Diff(v.says, got); diff != "" {
						t.Errorf("new_transaction (-then +now):\n%s", diff)
					}
					a.mustCommit(nil, put("P", "b", 7))
					again, _ := seen(t, a, inTx(tx))
					if diff := cmp.Diff(v.says, again); diff != "" {
						t.Errorf("the transaction moved (-then +now):\n%s", diff)
					}
					wantCode(t, a.commit(t.Context(), tx, put("P", "a", 1)), codes.InvalidArgument)
					a.mustCommit(tx)
				}
			})
		})
	}
}

// TestReadsNameTheirTime: whatever is committed between a read and the end of
// its microsecond, reading at the time it named shows the same.
func TestReadsNameTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still here
		a := api{start(t, nil).raw(), t}
		a.mustCommit(nil, put("P", "a", 1))
		first, _ := seen(t, a, nil)
		resp, err := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("P", "a")}})
		if err != nil {
			t.Fatal(err)
		}
		a.mustCommit(nil, put("P", "a", 2))
		if again, _ := seen(t, a, at(resp.GetReadTime().AsTime())); again != first {
			t.Errorf("first %s\nthen  %s", first, again)
		}
	})
}

func TestRefusedReadTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := api{start(t, nil).raw(), t}
		a.mustCommit(nil, put("P", "a", 1))
		time.Sleep(2 * time.Hour)
		for _, c := range []struct {
			t    *timestamppb.Timestamp
			code codes.Code
			text string
		}{
			{timestamppb.New(time.Now().Add(time.Second)), codes.InvalidArgument, "The requested 'read_time' cannot be in the future."},
			{timestamppb.New(time.Now().Add(-1)), codes.InvalidArgument, "timestamp cannot have more than microseconds precision"},
			{&timestamppb.Timestamp{}, codes.InvalidArgument, "Only timestamps past epoch are supported."},
			{&timestamppb.Timestamp{Seconds: -62135596801}, codes.InvalidArgument, "invalid timestamp: it must be from "},
			{timestamppb.New(time.Now().Add(-time.Hour - time.Microsecond)), codes.FailedPrecondition,
				"The requested 'read_time' is too old. The past is kept for 1h0m0s and in up to 64 MiB; it goes back to 2000-01-01T01:00:00.000000Z now."},
		} {
			o := &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadTime{ReadTime: c.t}}
			_, lookup := a.Lookup(t.Context(), &pb.LookupRequest{ProjectId: project, ReadOptions: o, Keys: []*pb.Key{key("P", "a")}})
			_, query := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project, ReadOptions: o, QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{}}})
			_, begin := a.BeginTransaction(t.Context(), &pb.BeginTransactionRequest{ProjectId: project, TransactionOptions: &pb.TransactionOptions{
				Mode: &pb.TransactionOptions_ReadOnly_{ReadOnly: &pb.TransactionOptions_ReadOnly{ReadTime: c.t}}}})
			for _, err := range []error{lookup, query, begin} {
				if status.Code(err) != c.code || !strings.HasPrefix(status.Convert(err).Message(), c.text) {
					t.Errorf("got %v; want %v %q", err, c.code, c.text)
				}
			}
		}
	})
}
