package protocol

import (
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// FuzzGQL: what can be read is run or refused for a reason, and what was read
// means the same when it is sent back.
func FuzzGQL(f *testing.F) {
	for _, s := range []string{
		"SELECT * FROM A WHERE p = 'x' AND (q < -3.5 OR @1 IN t) ORDER BY q DESC LIMIT 5 OFFSET 1",
		"SELECT DISTINCT ON (A.p) p, q FROM A WHERE __key__ HAS ANCESTOR KEY(A, 1)",
		"SELECT __key__ WHERE __key__ > KEY(PROJECT('p'), NAMESPACE(''), A, 1, B, 'x')",
		"SELECT * FROM A WHERE p NOT IN ARRAY(1, NULL, true, DATETIME('2013-09-29T09:30:20Z'), BLOB('-_8'))",
		"AGGREGATE COUNT(*) AS n, SUM(p.x), AVG(q), COUNT_UP_TO(3) OVER (SELECT p FROM A WHERE p IS NULL)",
		"SELECT COUNT(*) FROM A WHERE 1 != p AND q CONTAINS 2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		store, err := storage.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		s := New(store, transactions.Options{})
		defer s.Close()
		answered := func(err error) bool {
			if c := status.Code(err); err != nil && c != codes.InvalidArgument && c != codes.FailedPrecondition {
				t.Fatalf("%q: %v", src, err)
			}
			return err == nil
		}
		q := &pb.GqlQuery{QueryString: src, AllowLiterals: true}
		if strings.Contains(src, "@1") {
			q.PositionalBindings = []*pb.GqlQueryParameter{{ParameterType: &pb.GqlQueryParameter_Value{
				Value: &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: 7}}}}}
		}
		if r, err := s.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: "p", QueryType: &pb.RunQueryRequest_GqlQuery{GqlQuery: q}}); answered(err) {
			_, err := s.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: "p", QueryType: &pb.RunQueryRequest_Query{Query: r.GetQuery()}})
			if err != nil {
				t.Fatalf("%q was read and run as %v; sent back: %v", src, r.GetQuery(), err)
			}
		}
		if r, err := s.RunAggregationQuery(t.Context(), &pb.RunAggregationQueryRequest{ProjectId: "p", QueryType: &pb.RunAggregationQueryRequest_GqlQuery{GqlQuery: q}}); answered(err) {
			_, err := s.RunAggregationQuery(t.Context(), &pb.RunAggregationQueryRequest{ProjectId: "p",
				QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: r.GetQuery()}})
			if err != nil {
				t.Fatalf("%q was read and run as %v; sent back: %v", src, r.GetQuery(), err)
			}
		}
	})
}
