package diff

import (
	"context"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/generate"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// modes are the values of our server's Concurrency.
func modes(t *testing.T, f func(t *testing.T, mode string)) {
	for _, mode := range []string{"pessimistic", "optimistic"} {
		t.Run(mode, func(t *testing.T) { f(t, mode) })
	}
}

// Our server answers as another one of its own does, to everything but how far
// back its past goes.
func TestLikeItself(t *testing.T) {
	table := slices.DeleteFunc(Justified(), func(e Entry) bool { return e.ID != "read-time-text" })
	modes(t, func(t *testing.T, mode string) {
		r := &Runner{Ours: Server{"ours", serve(t, mode)}, Theirs: []Server{{"FS", serve(t, mode)}}, Table: table, Counts: NewCounts()}
		failures, err := r.All(t.Context(), generate.Scripts(1, 300), 4, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range failures {
			t.Error(f)
		}
		if n := r.Counts.Operations(); n < 300 {
			t.Errorf("%d operations; want 300", n)
		}
	})
}

// forgetful answers queries that sort and have a limit with a result too few.
type forgetful struct{ pb.DatastoreClient }

func (f forgetful) RunQuery(ctx context.Context, req *pb.RunQueryRequest, o ...grpc.CallOption) (*pb.RunQueryResponse, error) {
	resp, err := f.DatastoreClient.RunQuery(ctx, req, o...)
	results := resp.GetBatch().GetEntityResults()
	if len(results) > 1 && len(req.GetQuery().GetOrder()) > 0 && req.GetQuery().GetLimit() != nil {
		resp.Batch.EntityResults = results[:len(results)-1]
	}
	return resp, err
}

// A planted bug is found, and its script made as small as the bug allows: two
// entities, and a query that sorts and has a limit.
func TestPlantedBug(t *testing.T) {
	for _, planted := range []string{"ours", "theirs"} {
		t.Run(planted, func(t *testing.T) {
			right := serve(t, "")
			wrong := forgetful{serve(t, "")}
			r := &Runner{Ours: Server{"ours", right}, Theirs: []Server{{"FS", wrong}}, Counts: NewCounts()}
			if planted == "ours" {
				r.Ours, r.Theirs = Server{"ours", wrong}, []Server{{"FS", right}}
			}
			failures, err := r.All(t.Context(), generate.Scripts(1, 5000, "queries"), 1, 1)
			if err != nil || len(failures) != 1 {
				t.Fatalf("found %d failures, %v", len(failures), err)
			}
			f := r.Shrink(t.Context(), failures[0])
			if f.Differs.Aspect != "results" || f.Against != "FS" || f.Entry != "" {
				t.Errorf("it differs from %s in %s, %q", f.Against, f.Differs.Aspect, f.Entry)
			}
			stored, asked := 0, 0
			for _, step := range f.Script.Steps {
				switch req := step.Request.(type) {
				case *pb.CommitRequest:
					stored += len(req.GetMutations())
				case *pb.RunQueryRequest:
					asked++
					q := req.GetQuery()
					if len(q.GetOrder()) != 1 || q.GetLimit() == nil || q.GetFilter() != nil || q.GetProjection() != nil || q.GetOffset() != 0 {
						t.Errorf("the query is not small: %v", q)
					}
				default:
					t.Errorf("a step that shows nothing: %v", step)
				}
			}
			if stored != 2 || asked != 1 {
				t.Errorf("%d mutations and %d queries; want 2 and 1:\n%s", stored, asked, f)
			}

			// The transcript is a script that shows the same.
			s, err := script.Parse(f.String())
			if err != nil {
				t.Fatal(err)
			}
			again, err := r.Run(t.Context(), s)
			if err != nil || again == nil || again.Signature() != f.Signature() {
				t.Errorf("the transcript, run again, gives %v, %v", again, err)
			}
			if brief := f.Brief(); strings.Count(brief, "\n") > 20 || !strings.Contains(brief, "RunQuery") {
				t.Errorf("in brief it is\n%s", brief)
			}
		})
	}
}

// careless keeps nothing apart: transactions lock nothing and see everything.
type careless struct{ pb.DatastoreClient }

func (c careless) Lookup(ctx context.Context, req *pb.LookupRequest, o ...grpc.CallOption) (*pb.LookupResponse, error) {
	req = proto.CloneOf(req)
	req.ReadOptions = nil
	return c.DatastoreClient.Lookup(ctx, req, o...)
}

func (c careless) Commit(ctx context.Context, req *pb.CommitRequest, o ...grpc.CallOption) (*pb.CommitResponse, error) {
	req = proto.CloneOf(req)
	req.Mode, req.TransactionSelector = pb.CommitRequest_NON_TRANSACTIONAL, nil
	return c.DatastoreClient.Commit(ctx, req, o...)
}

// Both actors read what the other one writes, and both come through.
const writeSkew = `interleaved
step 1 Commit
  project_id: "thisproject"
  mode: NON_TRANSACTIONAL
  mutations { upsert { key { partition_id { project_id: "thisproject" } path { kind: "A" id: 1 } } } }
  mutations { upsert { key { partition_id { project_id: "thisproject" } path { kind: "A" id: 2 } } } }
step 2 BeginTransaction actor 1
  project_id: "thisproject"
step 3 BeginTransaction actor 2
  project_id: "thisproject"
step 4 Lookup actor 1
  project_id: "thisproject"
  read_options { transaction: "tx:2" }
  keys { partition_id { project_id: "thisproject" } path { kind: "A" id: 2 } }
step 5 Lookup actor 2
  project_id: "thisproject"
  read_options { transaction: "tx:3" }
  keys { partition_id { project_id: "thisproject" } path { kind: "A" id: 1 } }
step 6 Commit actor 1
  project_id: "thisproject"
  mode: TRANSACTIONAL
  transaction: "tx:2"
  mutations { delete { partition_id { project_id: "thisproject" } path { kind: "A" id: 1 } } }
step 7 Commit actor 2
  project_id: "thisproject"
  mode: TRANSACTIONAL
  transaction: "tx:3"
  mutations { delete { partition_id { project_id: "thisproject" } path { kind: "A" id: 2 } } }
step 8 Lookup
  project_id: "thisproject"
  keys { partition_id { project_id: "thisproject" } path { kind: "A" id: 1 } }
  keys { partition_id { project_id: "thisproject" } path { kind: "A" id: 2 } }
`

func TestLostIsolation(t *testing.T) {
	s, err := script.Parse(writeSkew)
	if err != nil {
		t.Fatal(err)
	}
	modes(t, func(t *testing.T, mode string) {
		right := serve(t, mode)
		r := &Runner{Ours: Server{"ours", right}, Counts: NewCounts(), Table: Justified()}
		if f, err := r.Run(t.Context(), s); f != nil || err != nil {
			t.Errorf("a right server: %v, %v", f, err)
		}
		wrong := careless{serve(t, mode)}
		r.Ours.Client = wrong
		f, err := r.Run(t.Context(), s)
		if err != nil || f == nil || f.Differs.Aspect != "history" || f.Against != "ours" {
			t.Errorf("a careless server: %v, %v", f, err)
		}
		r.Ours.Client, r.Theirs = right, []Server{{"DS", wrong}}
		if f, err = r.Run(t.Context(), s); err != nil || f == nil || f.Against != "DS" {
			t.Errorf("another careless server, by lookups: %v, %v", f, err)
		}
	})
}

// What our side doesn't implement is counted, or fails.
func TestUnimplemented(t *testing.T) {
	right := serve(t, "")
	s, err := script.Parse("step 1 RunAggregationQuery\n  project_id: \"thisproject\"\n  aggregation_query { aggregations { count {} } }\n")
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{Ours: Server{"ours", old{right}}, Theirs: []Server{{"DS", right}}, Counts: NewCounts()}
	if f, err := r.Run(t.Context(), s); f == nil || err != nil {
		t.Errorf("it passed: %v, %v", f, err)
	}
	r.AllowUnimplemented = true
	if f, err := r.Run(t.Context(), s); f != nil || err != nil {
		t.Errorf("although allowed: %v, %v", f, err)
	}
	if summary := r.Counts.Summary(nil); !strings.Contains(summary, "not there yet") {
		t.Errorf("the summary doesn't say so:\n%s", summary)
	}
}

// old knows no aggregations.
type old struct{ pb.DatastoreClient }

func (old) RunAggregationQuery(context.Context, *pb.RunAggregationQueryRequest, ...grpc.CallOption) (*pb.RunAggregationQueryResponse, error) {
	return pb.UnimplementedDatastoreServer{}.RunAggregationQuery(context.Background(), nil)
}
