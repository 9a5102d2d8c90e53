package datastore_test

import (
	"fmt"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func gqlQuery(query string, named map[string]*pb.GqlQueryParameter, positional ...*pb.GqlQueryParameter) *pb.GqlQuery {
	return &pb.GqlQuery{QueryString: query, AllowLiterals: true, NamedBindings: named, PositionalBindings: positional}
}

func boundCursor(c []byte) *pb.GqlQueryParameter {
	return &pb.GqlQueryParameter{ParameterType: &pb.GqlQueryParameter_Cursor{Cursor: c}}
}

func boundValue(v *pb.Value) *pb.GqlQueryParameter {
	return &pb.GqlQueryParameter{ParameterType: &pb.GqlQueryParameter_Value{Value: v}}
}

func (a api) gql(namespace string, q *pb.GqlQuery) (*pb.RunQueryResponse, error) {
	return a.RunQuery(a.t.Context(), &pb.RunQueryRequest{ProjectId: project,
		PartitionId: &pb.PartitionId{NamespaceId: namespace}, QueryType: &pb.RunQueryRequest_GqlQuery{GqlQuery: q}})
}

func (a api) gqlAggregation(q *pb.GqlQuery) (*pb.RunAggregationQueryResponse, error) {
	return a.RunAggregationQuery(a.t.Context(), &pb.RunAggregationQueryRequest{ProjectId: project,
		QueryType: &pb.RunAggregationQueryRequest_GqlQuery{GqlQuery: q}})
}

// numbers are the properties n of the results, in order.
func numbers(resp *pb.RunQueryResponse) string {
	var list []string
	for _, r := range resp.GetBatch().GetEntityResults() {
		list = append(list, fmt.Sprint(r.GetEntity().GetProperties()["n"].GetIntegerValue()))
	}
	return strings.Join(list, " ")
}

func TestGQL(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	for i := range 9 {
		a.mustCommit(nil, put("A", fmt.Sprint("x", i), int64(i)))
	}
	elsewhere := put("A", "y", 99)
	elsewhere.GetUpsert().Key.PartitionId = &pb.PartitionId{NamespaceId: "ns"}
	a.mustCommit(nil, elsewhere)

	for _, c := range []struct {
		namespace string
		gql       *pb.GqlQuery
		want      string
	}{
		{"", gqlQuery("SELECT * FROM A ORDER BY n DESC LIMIT 3 OFFSET 1", nil), "7 6 5"},
		{"", gqlQuery("SELECT n FROM A WHERE 3 < A.n AND n <= @1", nil, boundValue(integer(6))), "4 5 6"},
		{"", gqlQuery("SELECT * FROM A WHERE __key__ = KEY(A, 'x4')", nil), "4"},
		{"", gqlQuery("SELECT * WHERE __key__ HAS ANCESTOR @k", map[string]*pb.GqlQueryParameter{
			"k": boundValue(&pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: key("A", "x2")}})}), "2"},
		{"ns", gqlQuery("SELECT * FROM A WHERE KEY(A, 'y') HAS DESCENDANT __key__", nil), "99"},
		{"ns", gqlQuery("SELECT * FROM A", nil), "99"},
	} {
		resp, err := a.gql(c.namespace, c.gql)
		if err != nil || numbers(resp) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.gql.GetQueryString(), numbers(resp), err, c.want)
			continue
		}
		// What was parsed asks for the same.
		again, err := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project,
			PartitionId: &pb.PartitionId{NamespaceId: c.namespace}, QueryType: &pb.RunQueryRequest_Query{Query: resp.GetQuery()}})
		if err != nil || numbers(again) != c.want {
			t.Errorf("%v: %s, %v; want %s", resp.GetQuery(), numbers(again), err, c.want)
		}
		if again.GetQuery() != nil {
			t.Errorf("the answer to a query that isn't GQL has a parsed one: %v", again.GetQuery())
		}
	}
}

// TestGQLPages goes through a kind with cursors, whose batches end before the
// results do.
func TestGQLPages(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	const all = 700
	var mutations []*pb.Mutation
	for i := range all {
		mutations = append(mutations, put("A", fmt.Sprintf("%03d", i), int64(i)))
	}
	a.mustCommit(nil, mutations...)

	first, err := a.gql("", gqlQuery("SELECT * FROM A LIMIT 650", nil))
	if err != nil {
		t.Fatal(err)
	}
	batch := first.GetBatch()
	if batch.GetMoreResults() != pb.QueryResultBatch_NOT_FINISHED || len(batch.GetEntityResults()) != 300 {
		t.Fatalf("the first batch has %d results and says %v", len(batch.GetEntityResults()), batch.GetMoreResults())
	}
	q := proto.CloneOf(first.GetQuery())
	q.StartCursor, q.Limit.Value = batch.GetEndCursor(), q.GetLimit().GetValue()-300
	second, err := a.RunQuery(t.Context(), &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: q}})
	if err != nil || second.GetBatch().GetEntityResults()[0].GetEntity().GetProperties()["n"].GetIntegerValue() != 300 {
		t.Fatalf("the second batch: %v, %v", second, err)
	}

	named := map[string]*pb.GqlQueryParameter{"start": boundCursor(batch.GetEndCursor()), "end": boundCursor(second.GetBatch().GetEndCursor())}
	for query, want := range map[string]string{
		"SELECT * FROM A LIMIT 2 OFFSET @start":                  "300 301",
		"SELECT * FROM A LIMIT FIRST(@end, 2) OFFSET @start + 5": "305 306",
		"SELECT * FROM A LIMIT @end OFFSET @start + 298":         "598 599",
		"SELECT * FROM A LIMIT FIRST(9, @start) OFFSET 299":      "299",
	} {
		resp, err := a.gql("", gqlQuery(query, named))
		if err != nil || numbers(resp) != want {
			t.Errorf("%s: %s, %v; want %s", query, numbers(resp), err, want)
		}
	}
}

func TestGQLAggregations(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	for i := range 9 {
		a.mustCommit(nil, put("A", fmt.Sprint("x", i), int64(8-i)))
	}
	for query, want := range map[string]map[string]int64{
		"SELECT COUNT(*) FROM A WHERE n > 2":                                             {"property_1": 6},
		"SELECT COUNT_UP_TO(4) AS few, SUM(A.n) FROM A":                                  {"few": 4, "property_1": 36},
		"AGGREGATE SUM(n) AS s, COUNT(*) OVER (SELECT * FROM A ORDER BY n DESC LIMIT 2)": {"s": 15, "property_1": 2},
		"AGGREGATE SUM(n) AS s OVER (SELECT * LIMIT 2)":                                  {"s": 1},
		"AGGREGATE SUM(n) AS s OVER (SELECT * ORDER BY __key__ LIMIT 2)":                 {"s": 15},
		"AGGREGATE SUM(n) AS s OVER (SELECT * WHERE __key__ > KEY(A, 'x6') LIMIT 1)":     {"s": 1},
	} {
		resp, err := a.gqlAggregation(gqlQuery(query, nil))
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got := resp.GetBatch().GetAggregationResults()[0].GetAggregateProperties()
		for alias, n := range want {
			if got[alias].GetIntegerValue() != n || len(got) != len(want) {
				t.Errorf("%s: %v; want %v", query, got, want)
			}
		}
		if len(resp.GetQuery().GetAggregations()) != len(want) || len(resp.GetQuery().GetNestedQuery().GetKind()) > 0 != strings.Contains(query, "FROM A") {
			t.Errorf("%s was read as %v", query, resp.GetQuery())
		}
	}
}

func TestRefusedGQL(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	refuse := func(err error, want string) {
		t.Helper()
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), want) {
			t.Errorf("got %v; want InvalidArgument with %q", err, want)
		}
	}
	for query, want := range map[string]string{
		"SELEKT":                               "Encountered \" <UNQUOTED_NAME> \"SELEKT \"\" at line 1, column 1.\nWas expecting: ",
		"SELECT * FROM A WHERE n = @off":       "Absent named binding: off.",
		"SELECT * FROM A WHERE n HAS PARENT 5": "The 'HAS_PARENT' filter is not supported.",
		"SELECT COUNT(*) FROM A":               "RunAggregationQuery runs it",
		"SELECT n WHERE n = 1":                 "kind is required",
		"SELECT * FROM A WHERE n = " + strings.Repeat("(", 1<<20): "longer than 1048576 bytes",
	} {
		_, err := a.gql("", gqlQuery(query, nil))
		refuse(err, want)
	}
	_, err := a.gqlAggregation(gqlQuery("SELECT * FROM A", nil))
	refuse(err, "RunQuery runs it")
	_, err = a.gql("bad ns!", gqlQuery("SELECT * FROM A", nil))
	refuse(err, "Illegal string \"bad ns!\" in namespace id.")
	q := gqlQuery("SELECT * FROM A WHERE n = 3", nil)
	q.AllowLiterals = false
	_, err = a.gql("", q)
	refuse(err, "Disallowed literal: 3.")

	// A binding that is named often is as large as it would be if it were sent
	// that often.
	large := boundValue(text(strings.Repeat("x", 1<<20)))
	_, err = a.gql("", gqlQuery("SELECT * FROM A WHERE n IN ARRAY(@1"+strings.Repeat(",@1", 100_000)+")", nil, large))
	refuse(err, "sum up to more than 10485760 bytes")
}
