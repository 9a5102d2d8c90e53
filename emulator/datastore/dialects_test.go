package datastore_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	gocmp "github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// http returns a client whose connections all lead to the server.
func (e *env) http() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return e.net.DialContext(ctx, "tcp", e.addr)
	}}
	e.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// A dialect writes requests and reads answers as some clients do over HTTP.
type dialect struct {
	encode  func(r *http.Request, in proto.Message) ([]byte, error)
	decode  func(b []byte, out proto.Message) error
	failure func(b []byte) (*rpcstatus.Status, error)
	answers string // the Content-Type, to the letter
}

// java is what Google's Java client does by default: protobuf, with these
// headers. Errors of another Content-Type it can't read.
var java = dialect{
	encode: func(r *http.Request, in proto.Message) ([]byte, error) {
		body, err := proto.Marshal(in)
		r.Header = http.Header{
			"X-Goog-Api-Format-Version":    {"2"},
			"X-Goog-Request-Params":        {"project_id=" + project},
			"X-Request-Checksum-348659783": {fmt.Sprint(crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))},
			"Accept-Encoding":              {"gzip"},
			"User-Agent":                   {"gcloud-java-datastore/2 Google-HTTP-Java-Client/1 (gzip)"},
			"Content-Type":                 {"application/x-protobuf"},
			"Accept":                       {"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"},
		}
		return body, err
	},
	decode:  proto.Unmarshal,
	failure: func(b []byte) (*rpcstatus.Status, error) { s := new(rpcstatus.Status); return s, proto.Unmarshal(b, s) },
	answers: "application/x-protobuf",
}

// curl is JSON as scripts send it.
var curl = dialect{
	encode: func(r *http.Request, in proto.Message) ([]byte, error) {
		r.Header.Set("Content-Type", "application/json")
		return protojson.Marshal(in)
	},
	decode:  protojson.Unmarshal,
	failure: jsonFailure,
	answers: "application/json; charset=UTF-8",
}

// gapic is JSON as Google's generated clients send it.
var gapic = dialect{
	encode: func(r *http.Request, in proto.Message) ([]byte, error) {
		r.Header.Set("Content-Type", "application/json")
		r.URL.RawQuery = "%24alt=json%3Benum-encoding%3Dint"
		return protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(in)
	},
	decode:  protojson.Unmarshal,
	failure: jsonFailure,
	answers: "application/json; charset=UTF-8",
}

func jsonFailure(b []byte) (*rpcstatus.Status, error) {
	var e struct {
		Error struct {
			Code            int
			Message, Status string
		}
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	var c codes.Code
	err := c.UnmarshalJSON([]byte(`"` + e.Error.Status + `"`))
	return &rpcstatus.Status{Code: int32(c), Message: e.Error.Message}, err
}

// overHTTP carries the calls of a generated client.
type overHTTP struct {
	dialect
	client *http.Client
}

func (c overHTTP) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	name := method[strings.LastIndexByte(method, '/')+1:]
	name = strings.ToLower(name[:1]) + name[1:]
	in, out := args.(proto.Message), reply.(proto.Message)
	project := in.(interface{ GetProjectId() string }).GetProjectId()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/projects/"+project+":"+name, nil)
	if err != nil {
		return err
	}
	body, err := c.encode(req, in)
	if err != nil {
		return err
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if got := resp.Header.Get("Content-Type"); got != c.answers {
		return fmt.Errorf("%s answers %d with Content-Type %q; want %q: %.200s", name, resp.StatusCode, got, c.answers, answer)
	}
	if resp.StatusCode == http.StatusOK {
		return c.decode(answer, out)
	}
	st, err := c.failure(answer)
	if err != nil || st.GetCode() == 0 {
		return fmt.Errorf("%s answers %d with %v, %v", name, resp.StatusCode, st, err)
	}
	return status.FromProto(st).Err()
}

func (overHTTP) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "the API has no streams")
}

// over returns a client of the bare API that speaks d.
func (e *env) over(d dialect) pb.DatastoreClient {
	return pb.NewDatastoreClient(overHTTP{d, e.http()})
}

// TestDialectsSayTheSame makes the same calls, every method and many errors
// among them, in each dialect against a server of its own. In a bubble the
// times are the same too.
func TestDialectsSayTheSame(t *testing.T) {
	tell := func(d *dialect) (told []string, calls map[string]int64) {
		isolated(t, nil, func(t *testing.T, a api, e *env) {
			if d != nil {
				a.DatastoreClient = e.over(*d)
			}
			told = everything(a)
			calls = e.Stats().Calls
		})
		return told, calls
	}
	want, counted := tell(nil)
	for name, d := range map[string]dialect{"java": java, "curl": curl, "gapic": gapic} {
		t.Run(name, func(t *testing.T) {
			got, calls := tell(&d)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("gRPC and HTTP differ (-gRPC +HTTP):\n%s", diff)
			}
			if diff := gocmp.Diff(counted, calls); diff != "" {
				t.Errorf("calls (-gRPC +HTTP):\n%s", diff)
			}
		})
	}
	for method, n := range counted {
		if n == 0 {
			t.Errorf("%s was not called", method)
		}
	}
}

// everything makes a story of all methods and returns what was answered.
func everything(a api) (told []string) {
	ctx := a.t.Context()
	tell := func(m proto.Message, err error) {
		a.t.Helper()
		text := prototext.MarshalOptions{}.Format(m)
		if err != nil {
			if _, ok := status.FromError(err); !ok {
				a.t.Error(err)
			}
			text = fmt.Sprint(status.Code(err), " ", status.Convert(err).Message())
		}
		told = append(told, strings.ReplaceAll(text, "  ", " ")) // prototext varies them
	}
	incomplete := &pb.Key{Path: []*pb.Key_PathElement{{Kind: "T"}}}
	ids, err := a.AllocateIds(ctx, &pb.AllocateIdsRequest{ProjectId: project, Keys: []*pb.Key{incomplete, incomplete}})
	tell(ids, err)
	reserved, err := a.ReserveIds(ctx, &pb.ReserveIdsRequest{ProjectId: project, Keys: ids.GetKeys()})
	tell(reserved, err)
	tx := a.begin(nil)
	told = append(told, fmt.Sprintf("%x", tx))
	done, err := a.Commit(ctx, &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_TRANSACTIONAL,
		TransactionSelector: &pb.CommitRequest_Transaction{Transaction: tx},
		Mutations: []*pb.Mutation{
			put("T", "a", 1), upsert(key("T", "b"), "p", text("ü\x00<&>\u2028")), insert(incomplete),
			upsert(key("T", "c"), "p", array(integer(1<<62), text("x"), &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: []byte{0xff, 0}}},
				&pb.Value{ValueType: &pb.Value_NullValue{}}, &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: 1e300}})),
			upsert(key("T", "d"), "e", nested(3)),
		}})
	tell(done, err)
	lookup := func(o *pb.ReadOptions, keys ...*pb.Key) {
		a.t.Helper()
		resp, err := a.Lookup(ctx, &pb.LookupRequest{ProjectId: project, Keys: keys, ReadOptions: o, PropertyMask: nil})
		tell(resp, err)
	}
	lookup(nil, key("T", "a"), key("T", "b"), key("T", "c"), key("T", "d"), key("T", "missing"))
	masked, err := a.Lookup(ctx, &pb.LookupRequest{ProjectId: project, Keys: []*pb.Key{key("T", "a")}, PropertyMask: &pb.PropertyMask{Paths: []string{"m"}}})
	tell(masked, err)
	query := func(q *pb.Query) {
		a.t.Helper()
		resp, err := a.RunQuery(ctx, &pb.RunQueryRequest{ProjectId: project, QueryType: &pb.RunQueryRequest_Query{Query: q}})
		tell(resp, err)
	}
	kind := []*pb.KindExpression{{Name: "T"}}
	query(&pb.Query{Kind: kind})
	query(&pb.Query{Kind: kind, Projection: []*pb.Projection{{Property: &pb.PropertyReference{Name: "n"}}}})
	query(&pb.Query{Kind: kind, StartCursor: []byte("garbage")})
	counted, err := a.RunAggregationQuery(ctx, &pb.RunAggregationQueryRequest{ProjectId: project,
		QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
			QueryType: &pb.AggregationQuery_NestedQuery{NestedQuery: &pb.Query{Kind: kind}},
			Aggregations: []*pb.AggregationQuery_Aggregation{{Alias: "n",
				Operator: &pb.AggregationQuery_Aggregation_Count_{Count: &pb.AggregationQuery_Aggregation_Count{}}}}}}})
	tell(counted, err)

	tell(nil, a.commit(ctx, nil, insert(key("T", "a"))))
	tell(nil, a.commit(ctx, nil, update(key("T", "missing"))))
	tell(nil, a.commit(ctx, tx, put("T", "a", 2)))
	tell(nil, a.commit(ctx, nil, upsert(key("__r__", "a"), "p", integer(1))))
	tell(nil, a.commit(ctx, nil, upsert(key(strings.Repeat("k", 2000), "a"), "p", integer(1))))
	lookup(nil, incomplete)
	lookup(inTx([]byte("garbage")), key("T", "a"))
	for _, p := range []string{"bad!", "example.com:p", "p"} {
		resp, err := a.Lookup(ctx, &pb.LookupRequest{ProjectId: p, Keys: []*pb.Key{key("T", "a")}})
		tell(resp, err)
	}
	rolled, err := a.Rollback(ctx, &pb.RollbackRequest{ProjectId: project, Transaction: a.begin(nil)})
	tell(rolled, err)
	lost, err := a.Rollback(ctx, &pb.RollbackRequest{ProjectId: project})
	tell(lost, err)
	return told
}

// TestWaitingOverHTTP: a request may wait for longer than a body may take to
// arrive, and one whose client has gone is never carried out.
func TestWaitingOverHTTP(t *testing.T) {
	for name, d := range map[string]dialect{"java": java, "curl": curl} {
		t.Run(name, func(t *testing.T) {
			isolated(t, nil, func(t *testing.T, a api, e *env) {
				b := api{e.over(d), t}
				tx := a.begin(nil)
				a.mustGet(tx, "T", "a", -1)
				patient := do(func() error { return b.commit(t.Context(), nil, put("T", "a", 1)) })
				ctx, leave := context.WithCancel(t.Context())
				abandoned := do(func() error { return b.commit(ctx, nil, put("T", "b", 1), put("T", "a", 2)) })
				leave()
				<-abandoned.err
				synctest.Wait()
				if n := e.Stats().WaitingRequests; n != 1 {
					t.Errorf("%d requests wait; want 1, as one client has gone", n)
				}
				for range 4 {
					time.Sleep(45 * time.Second)
					a.mustGet(tx, "T", "a", -1) // the transaction stays alive
				}
				if !patient.waits() {
					t.Fatalf("the write ended early: %v", <-patient.err)
				}
				a.rollback(tx)
				if err := <-patient.err; err != nil {
					t.Errorf("the write that waited: %v", err)
				}
				synctest.Wait()
				a.mustGet(nil, "T", "a", 1)
				a.mustGet(nil, "T", "b", -1)
			})
		})
	}
}

// TestTransactionsOverHTTP: contention is what it is over gRPC.
func TestTransactionsOverHTTP(t *testing.T) {
	const workers, rounds = 8, 10
	e := start(t, nil)
	errs := make(chan error, workers)
	for i := range workers {
		a := api{e.over([]dialect{java, curl, gapic}[i%3]), t}
		go func() {
			errs <- func() error {
				for range rounds {
					begun, err := a.BeginTransaction(t.Context(), &pb.BeginTransactionRequest{ProjectId: project})
					if err != nil {
						return err
					}
					n, err := a.get(t.Context(), begun.GetTransaction(), "T", "a")
					if err != nil {
						return err
					}
					if err := a.commit(t.Context(), begun.GetTransaction(), put("T", "a", max(n, 0)+1)); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	api{e.raw(), t}.mustGet(nil, "T", "a", workers*rounds)
	if st := e.Stats(); cmp.Or(st.Aborts, int64(st.OpenTransactions), int64(st.WaitingRequests)) != 0 {
		t.Errorf("%+v; want no aborts, nothing open, nobody waiting", st)
	}
}
