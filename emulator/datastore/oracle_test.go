package datastore_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"
)

// oracle starts Google's Firestore emulator in Datastore mode.
func oracle(t *testing.T) pb.DatastoreClient {
	t.Helper()
	const remedy = "NOT COMPARED WITH GOOGLE'S EMULATOR: %v. " +
		"To run this test, install the Google Cloud CLI with the component cloud-firestore-emulator, and Java 17 or newer."
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skipf(remedy, err)
	}
	root, err := exec.Command("gcloud", "info", "--format=value(installation.sdk_root)").Output()
	if err != nil {
		t.Skipf(remedy, err)
	}
	jars, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "platform", "cloud-firestore-emulator", "*.jar"))
	if len(jars) == 0 {
		t.Skipf(remedy, "no cloud-firestore-emulator in the Google Cloud CLI")
	}
	var addr string
	for attempt := 0; addr == ""; attempt++ {
		// Somebody may take the port between our look and theirs.
		if addr = startOracle(t, java, jars[0]); addr == "" && attempt == 3 {
			t.Fatal("Google's emulator did not become ready")
		}
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewDatastoreClient(conn)
}

// startOracle starts one process and waits until it answers; "" says that it
// ended or took more than a minute.
func startOracle(t *testing.T, java, jar string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.Command(java, "-Duser.language=en", "-Xmx512m", "-cp", jar,
		"com.google.cloud.datastore.emulator.firestore.CloudFirestore",
		"--host=127.0.0.1", "--port="+port, "--database-mode=datastore-mode")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := http.Get("http://" + addr + "/"); err == nil {
			resp.Body.Close()
			return addr
		}
		select {
		case <-tick.C:
		case <-ended:
			return ""
		case <-ctx.Done():
			return ""
		}
	}
}

// TestLikeGoogle applies generated commits and queries to both emulators and
// compares all answers. Where they differ for a reason, the reason is here.
func TestLikeGoogle(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Java process")
	}
	theirs := oracle(t)
	ours := start(t, nil).raw()
	var n atomic.Int64
	rapid.Check(t, func(r *rapid.T) {
		g := generator{T: r, namespace: fmt.Sprintf("n%d", n.Add(1)), arrays: rapid.Bool().Draw(r, "arrays")}
		for range rapid.IntRange(1, 6).Draw(r, "commits") {
			req := g.commit()
			sameCommit(r, ours, theirs, req)
		}
		for range rapid.IntRange(1, 8).Draw(r, "queries") {
			sameQuery(r, ours, theirs, g.query())
		}
	})
}

func sameCommit(t *rapid.T, ours, theirs pb.DatastoreClient, req *pb.CommitRequest) {
	// A commit outside transactions is applied mutation by mutation there, and
	// as a whole here, so it is compared as a single-use transaction.
	a, errA := ours.Commit(t.Context(), proto.Clone(req).(*pb.CommitRequest))
	b, errB := theirs.Commit(t.Context(), proto.Clone(req).(*pb.CommitRequest))
	if status.Code(errA) != status.Code(errB) {
		t.Fatalf("commit %v:\nours   %v\ntheirs %v", req, errA, errB)
	}
	if errA != nil {
		// Existing entities are named in production's format, not theirs; and
		// letters beyond ASCII are not cut down to eight bits.
		if x, y := status.Convert(errA).Message(), status.Convert(errB).Message(); x != y && !strings.Contains(y, "EntityRef") && !strings.Contains(y, `\351`) {
			t.Fatalf("commit %v:\nours   %q\ntheirs %q", req, x, y)
		}
		return
	}
	if len(a.MutationResults) != len(b.MutationResults) {
		t.Fatalf("commit %v: %d and %d results", req, len(a.MutationResults), len(b.MutationResults))
	}
}

func sameQuery(t *rapid.T, ours, theirs pb.DatastoreClient, req *pb.RunQueryRequest) {
	a, errA := results(t.Context(), ours, req)
	b, errB := results(t.Context(), theirs, req)
	if status.Code(errA) != status.Code(errB) || status.Convert(errA).Message() != status.Convert(errB).Message() {
		t.Fatalf("query %v:\nours   %v\ntheirs %v", req, errA, errB)
	}
	if len(req.GetQuery().GetProjection()) == 0 || isKeysOnly(req) {
		b = once(b) // theirs has an entity once for each matching row
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Fatalf("query %v (-theirs +ours):\n%s", req, diff)
	}
}

func isKeysOnly(req *pb.RunQueryRequest) bool {
	p := req.GetQuery().GetProjection()
	return len(p) == 1 && p[0].GetProperty().GetName() == "__key__"
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

func once(all []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range all {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

// generator draws requests over a small world, so that they meet each other.
type generator struct {
	*rapid.T
	namespace string
	arrays    bool
}

func pick[T any](g *generator, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(g.T, label)
}

func (g *generator) partition() *pb.PartitionId {
	return &pb.PartitionId{ProjectId: project, NamespaceId: g.namespace}
}

func (g *generator) key() *pb.Key {
	k := &pb.Key{PartitionId: g.partition()}
	if rapid.IntRange(0, 2).Draw(g.T, "child") == 0 {
		k.Path = append(k.Path, g.element("A"))
	}
	k.Path = append(k.Path, g.element(pick(g, "kind", "A", "A", "B")))
	return k
}

func (g *generator) element(kind string) *pb.Key_PathElement {
	e := &pb.Key_PathElement{Kind: kind}
	if rapid.Bool().Draw(g.T, "named") {
		e.IdType = &pb.Key_PathElement_Name{Name: pick(g, "name", "a", "B", "aa", "é")}
	} else {
		e.IdType = &pb.Key_PathElement_Id{Id: pick[int64](g, "id", 1, 2, 10, -3)}
	}
	return e
}

func (g *generator) commit() *pb.CommitRequest {
	req := &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_TRANSACTIONAL,
		TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: &pb.TransactionOptions{
			Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{}}}}}
	for range rapid.IntRange(1, 4).Draw(g.T, "mutations") {
		m := &pb.Mutation{}
		switch rapid.IntRange(0, 7).Draw(g.T, "op") {
		case 0:
			m.Operation = &pb.Mutation_Insert{Insert: g.entity()}
		case 1:
			m.Operation = &pb.Mutation_Update{Update: g.entity()}
		case 2:
			m.Operation = &pb.Mutation_Delete{Delete: g.key()}
		default:
			m.Operation = &pb.Mutation_Upsert{Upsert: g.entity()}
		}
		req.Mutations = append(req.Mutations, m)
	}
	return req
}

func (g *generator) entity() *pb.Entity {
	e := &pb.Entity{Key: g.key(), Properties: map[string]*pb.Value{}}
	for _, name := range []string{"p", "q", "r"} {
		if rapid.IntRange(0, 3).Draw(g.T, "has") > 0 {
			e.Properties[name] = g.value(true)
		}
	}
	return e
}

func (g *generator) value(top bool) *pb.Value {
	v := g.scalar()
	if top {
		switch rapid.IntRange(0, 9).Draw(g.T, "shape") {
		case 0:
			v = &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: map[string]*pb.Value{"x": g.scalar()}}}}
		case 1:
			v.ExcludeFromIndexes = true
		case 2, 3:
			if g.arrays {
				a := &pb.ArrayValue{}
				for range rapid.IntRange(0, 3).Draw(g.T, "length") {
					a.Values = append(a.Values, g.scalar())
				}
				v = &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: a}}
			}
		}
	}
	return v
}

func (g *generator) scalar() *pb.Value {
	v := &pb.Value{}
	switch rapid.IntRange(0, 10).Draw(g.T, "type") {
	case 0:
		v.ValueType = &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}
	case 1:
		v.ValueType = &pb.Value_BooleanValue{BooleanValue: rapid.Bool().Draw(g.T, "bool")}
	case 2:
		v.ValueType = &pb.Value_DoubleValue{DoubleValue: pick(g, "double", -1.5, 0, 1, 2.5, 1e300)}
	case 3:
		v.ValueType = &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Nanos: pick[int32](g, "µs", 0, 1000, 2000, 2999)}}
	case 4:
		v.ValueType = &pb.Value_BlobValue{BlobValue: []byte(pick(g, "blob", "", "a", "\x00", "\xff"))}
	case 5:
		v.ValueType = &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{Latitude: pick(g, "lat", -1.0, 0, 1), Longitude: pick(g, "lng", -2.0, 2)}}
	case 6:
		v.ValueType = &pb.Value_KeyValue{KeyValue: g.key()}
	case 7:
		v.ValueType = &pb.Value_StringValue{StringValue: pick(g, "string", "", "a", "b", "aa", "a\x00", "é")}
	default:
		v.ValueType = &pb.Value_IntegerValue{IntegerValue: pick[int64](g, "int", -2, 0, 1, 2, 1<<40)}
	}
	return v
}

func (g *generator) query() *pb.RunQueryRequest {
	q := &pb.Query{}
	kind := pick(g, "query kind", "A", "A", "A", "B", "")
	var filters []*pb.Filter
	add := func(name string, op pb.PropertyFilter_Operator, v *pb.Value) {
		filters = append(filters, &pb.Filter{FilterType: &pb.Filter_PropertyFilter{PropertyFilter: &pb.PropertyFilter{
			Property: &pb.PropertyReference{Name: name}, Op: op, Value: v}}})
	}
	keyValue := func() *pb.Value { return &pb.Value{ValueType: &pb.Value_KeyValue{KeyValue: g.key()}} }
	inequality := func() pb.PropertyFilter_Operator {
		return pick(g, "operator", pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_LESS_THAN_OR_EQUAL,
			pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_GREATER_THAN_OR_EQUAL)
	}
	if rapid.IntRange(0, 4).Draw(g.T, "ancestor") == 0 {
		add("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue())
	}
	if kind != "" {
		q.Kind = []*pb.KindExpression{{Name: kind}}
		for range rapid.IntRange(0, 2).Draw(g.T, "equalities") {
			add(pick(g, "property", "p", "q", "p.x"), pb.PropertyFilter_EQUAL, g.value(false))
		}
	}
	ordered := ""
	if kind != "" && rapid.IntRange(0, 2).Draw(g.T, "unequal") == 0 {
		ordered = pick(g, "inequality", "r", "q", "r", "__key__")
	}
	switch {
	case ordered == "__key__":
		add(ordered, inequality(), keyValue())
	case ordered != "":
		for range rapid.IntRange(1, 2).Draw(g.T, "bounds") {
			add(ordered, inequality(), g.value(false))
		}
	}
	if kind != "" {
		for range rapid.IntRange(0, 2).Draw(g.T, "orders") {
			name := ordered
			if name == "" {
				name = pick(g, "order", "p", "q", "r", "__key__")
			}
			ordered = ""
			o := &pb.PropertyOrder{Property: &pb.PropertyReference{Name: name}, Direction: pb.PropertyOrder_ASCENDING}
			if rapid.Bool().Draw(g.T, "desc") {
				o.Direction = pb.PropertyOrder_DESCENDING
			}
			q.Order = append(q.Order, o)
		}
		switch rapid.IntRange(0, 5).Draw(g.T, "projection") {
		case 0:
			q.Projection = []*pb.Projection{{Property: &pb.PropertyReference{Name: "__key__"}}}
		case 1:
			for _, name := range rapid.Permutation([]string{"p", "q", "r"}).Draw(g.T, "projected")[:rapid.IntRange(1, 2).Draw(g.T, "columns")] {
				q.Projection = append(q.Projection, &pb.Projection{Property: &pb.PropertyReference{Name: name}})
			}
		}
	}
	if !g.arrays && rapid.Bool().Draw(g.T, "window") {
		q.Offset = int32(rapid.IntRange(0, 3).Draw(g.T, "offset"))
		q.Limit = wrapperspb.Int32(int32(rapid.IntRange(1, 4).Draw(g.T, "limit")))
	}
	switch len(filters) {
	case 0:
	case 1:
		q.Filter = filters[0]
	default:
		q.Filter = &pb.Filter{FilterType: &pb.Filter_CompositeFilter{CompositeFilter: &pb.CompositeFilter{
			Op: pb.CompositeFilter_AND, Filters: filters}}}
	}
	return &pb.RunQueryRequest{ProjectId: project, PartitionId: g.partition(), QueryType: &pb.RunQueryRequest_Query{Query: q}}
}
