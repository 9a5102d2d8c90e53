package admin_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore/internal/admin"
	"github.com/latchwork/latchwork/emulator/datastore/internal/protocol"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/known/durationpb"
)

const project = "proj"

// server is the service over data in memory, with a folder for exports.
type server struct {
	*admin.Service
	lro.OperationsServer
	data *protocol.Service
	dir  string
	t    *testing.T
}

func start(t *testing.T) *server {
	t.Helper()
	store, err := storage.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{data: protocol.New(store, transactions.Options{}), dir: t.TempDir(), t: t}
	folder, err := admin.OpenFolder(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Service = admin.New(s.data, &admin.Options{Folder: folder})
	s.Register(s)
	t.Cleanup(func() {
		s.Service.Close()
		s.data.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// RegisterService implements grpc.ServiceRegistrar: it is how the operations are
// reached here.
func (s *server) RegisterService(_ *grpc.ServiceDesc, impl any) {
	if o, ok := impl.(lro.OperationsServer); ok {
		s.OperationsServer = o
	}
}

func key(project, namespace string, path ...any) *pb.Key {
	k := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: project, NamespaceId: namespace}}
	for i := 0; i < len(path); i += 2 {
		e := &pb.Key_PathElement{Kind: path[i].(string)}
		switch id := path[i+1].(type) {
		case int:
			e.IdType = &pb.Key_PathElement_Id{Id: int64(id)}
		case string:
			e.IdType = &pb.Key_PathElement_Name{Name: id}
		}
		k.Path = append(k.Path, e)
	}
	return k
}

func number(n int) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: int64(n)}}
}

func (s *server) put(keys ...*pb.Key) {
	s.t.Helper()
	req := &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
	for i, k := range keys {
		req.Mutations = append(req.Mutations, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: k,
			Properties: map[string]*pb.Value{"n": number(i), "self": {ValueType: &pb.Value_KeyValue{KeyValue: k}}}}}})
	}
	if _, err := s.data.Commit(s.t.Context(), req); err != nil {
		s.t.Fatal(err)
	}
}

// all lists the entities of a database, as texts without their project.
func (s *server) all(project string) []string {
	s.t.Helper()
	view, err := s.data.Snapshot(project, "")
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	view.Ascend("E", "F", func(r storage.Row) bool {
		e, err := r.Entity.Decode()
		if err != nil {
			s.t.Error(err)
		}
		for _, p := range []*pb.PartitionId{e.Key.PartitionId, e.Properties["self"].GetKeyValue().GetPartitionId()} {
			if p != nil && p.ProjectId != project {
				s.t.Errorf("%v is in project %s", e.Key, project)
			} else if p != nil {
				p.ProjectId = ""
			}
		}
		var text strings.Builder
		fmt.Fprintf(&text, "%s:", e.Key.PartitionId.NamespaceId)
		for _, el := range e.Key.Path {
			fmt.Fprintf(&text, "/%s.%d%s", el.Kind, el.GetId(), el.GetName())
		}
		for _, name := range slices.Sorted(maps.Keys(e.Properties)) {
			fmt.Fprintf(&text, " %s=%s", name, strings.Join(strings.Fields(prototext.Format(e.Properties[name])), ""))
		}
		all = append(all, text.String())
		return true
	})
	return all
}

// ended waits for the end of an operation, which on a busy machine isn't there
// when the call returns.
func (s *server) ended(op *lro.Operation, err error) (*lro.Operation, error) {
	if err != nil || op.GetDone() {
		return op, err
	}
	return s.WaitOperation(s.t.Context(), &lro.WaitOperationRequest{Name: op.GetName(), Timeout: durationpb.New(time.Minute)})
}

func (s *server) export(f *adminpb.EntityFilter) string {
	s.t.Helper()
	op, err := s.ended(s.ExportEntities(s.t.Context(), &adminpb.ExportEntitiesRequest{ProjectId: project, OutputUrlPrefix: "gs://bucket/some/where", EntityFilter: f, Labels: map[string]string{"a": "b"}}))
	if err != nil || op.GetError() != nil || !op.GetDone() {
		s.t.Fatalf("export: %v, %v", op, err)
	}
	var resp adminpb.ExportEntitiesResponse
	if err := op.GetResponse().UnmarshalTo(&resp); err != nil {
		s.t.Fatal(err)
	}
	return resp.OutputUrl
}

func (s *server) load(project, url string, f *adminpb.EntityFilter) error {
	s.t.Helper()
	op, err := s.ended(s.ImportEntities(s.t.Context(), &adminpb.ImportEntitiesRequest{ProjectId: project, InputUrl: url, EntityFilter: f}))
	if err != nil {
		return err
	}
	if !op.GetDone() {
		s.t.Fatalf("the import goes on: %v", op)
	}
	return status.FromProto(op.GetError()).Err()
}

func TestThereAndBack(t *testing.T) {
	s := start(t)
	keys := []*pb.Key{key(project, "n", "C", "x")}
	for i := range 700 {
		keys = append(keys, key(project, "", "A", i+1, "B", fmt.Sprint("b", i)), key(project, "n", "C", i+1))
	}
	for chunk := range slices.Chunk(keys, 400) {
		s.put(chunk...)
	}
	url := s.export(nil)
	if !strings.HasPrefix(url, "gs://bucket/some/where/2") || !strings.HasSuffix(url, ".overall_export_metadata") {
		t.Errorf("the export is said to be at %q", url)
	}
	local := filepath.Join(s.dir, "bucket", "some", "where", filepath.FromSlash(strings.TrimPrefix(url, "gs://bucket/some/where/")))
	for _, from := range []string{url, local, "file://" + filepath.ToSlash(local)} {
		name := fmt.Sprintf("copy-%d", len(from))
		if err := s.load(name, from, nil); err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		if diff := cmp.Diff(s.all(project), s.all(name)); diff != "" {
			t.Errorf("%s (-exported +imported):\n%s", from, diff)
		}
	}
	if again := s.export(nil); again == url {
		t.Errorf("two exports are at %q", url)
	}
}

func TestExportsFilter(t *testing.T) {
	s := start(t)
	s.put(key(project, "", "A", 1), key(project, "", "B", 1), key(project, "n", "A", 1), key(project, "n", "A", 1, "B", 2), key(project, "m", "C", 1))
	for _, c := range []struct {
		out, in *adminpb.EntityFilter
		want    int
		code    codes.Code
	}{
		{nil, nil, 5, codes.OK},
		{&adminpb.EntityFilter{Kinds: []string{"A"}}, nil, 2, codes.OK},
		{&adminpb.EntityFilter{Kinds: []string{"A", "B"}, NamespaceIds: []string{"", "n"}}, nil, 4, codes.OK},
		{&adminpb.EntityFilter{Kinds: []string{"A", "B"}, NamespaceIds: []string{"", "n"}}, &adminpb.EntityFilter{Kinds: []string{"B"}, NamespaceIds: []string{"n"}}, 1, codes.OK},
		{&adminpb.EntityFilter{NamespaceIds: []string{"n"}}, nil, 2, codes.OK},
		{&adminpb.EntityFilter{NamespaceIds: []string{""}}, nil, 2, codes.OK},
		{&adminpb.EntityFilter{Kinds: []string{"none"}}, nil, 0, codes.OK},
		{nil, &adminpb.EntityFilter{Kinds: []string{"A"}}, 0, codes.FailedPrecondition},
		{&adminpb.EntityFilter{Kinds: []string{"A"}}, &adminpb.EntityFilter{Kinds: []string{"B"}}, 0, codes.FailedPrecondition},
	} {
		url := s.export(c.out)
		err := s.load("copy", url, c.in)
		if got := s.all("copy"); status.Code(err) != c.code || len(got) != c.want {
			t.Errorf("out %v, in %v: %q, %v; want %d and %v", c.out, c.in, got, err, c.want, c.code)
		}
		if err := s.data.Reset(); err != nil {
			t.Fatal(err)
		}
		s.put(key(project, "", "A", 1), key(project, "", "B", 1), key(project, "n", "A", 1), key(project, "n", "A", 1, "B", 2), key(project, "m", "C", 1))
	}
}

// TestImportedIdentifiers are not handed out, not even when their entities are
// deleted again.
func TestImportedIdentifiers(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	allocate := func(project string) *pb.Key {
		resp, err := s.data.AllocateIds(ctx, &pb.AllocateIdsRequest{ProjectId: project, Keys: []*pb.Key{key(project, "", "K", nil)}})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Keys[0]
	}
	used := allocate(project) // what another project's first one is, too
	s.put(used)
	if err := s.load("copy", s.export(nil), nil); err != nil {
		t.Fatal(err)
	}
	used.PartitionId.ProjectId = "copy"
	_, err := s.data.Commit(ctx, &pb.CommitRequest{ProjectId: "copy", Mode: pb.CommitRequest_NON_TRANSACTIONAL,
		Mutations: []*pb.Mutation{{Operation: &pb.Mutation_Delete{Delete: used}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := allocate("copy"); got.Path[0].GetId() == used.Path[0].GetId() {
		t.Errorf("%d was handed out", got.Path[0].GetId())
	}
}

// TestExportsAreOfOneMoment: what is written while an export runs is not in it.
func TestExportsAreOfOneMoment(t *testing.T) {
	s := start(t)
	s.put(key(project, "", "A", 1))
	view, err := s.data.Snapshot(project, "")
	if err != nil {
		t.Fatal(err)
	}
	s.put(key(project, "", "A", 2))
	if n := view.Count("E", "F"); n != 1 {
		t.Errorf("a snapshot has %d entities", n)
	}
}

// TestImportsThatFail say which entity and how many are there.
func TestImportsThatFail(t *testing.T) {
	s := start(t)
	var keys []*pb.Key
	for i := range 300 {
		keys = append(keys, key(project, "", "A", fmt.Sprintf("%04d", i)))
	}
	s.put(keys...)
	url := s.export(nil)
	output := filepath.Join(s.dir, "bucket", filepath.FromSlash(strings.TrimPrefix(filepath.Dir(url), "gs:/bucket/")), "all_namespaces", "all_kinds", "output-0")
	good, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(good)
	damaged[len(damaged)-3] ^= 1
	if err := os.WriteFile(output, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	err = s.load("copy", url, nil)
	if got := s.all("copy"); status.Code(err) != codes.InvalidArgument || len(got) != 299 {
		t.Errorf("%d entities of a damaged export, %v", len(got), err)
	}
	for _, says := range []string{"output-0 is damaged at offset ", "after 299 entities, which stay"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; want %q", err, says)
		}
	}
	if err := os.Truncate(output, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.load("other", url, nil); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty output: %v", err)
	}
	if err := os.Remove(output); err != nil {
		t.Fatal(err)
	}
	if err := s.load("other", url, nil); status.Code(err) != codes.NotFound {
		t.Errorf("no output: %v", err)
	}
}

// refusing is data that takes no entity of the given name.
type refusing struct {
	*protocol.Service
	name string
}

func (r refusing) Commit(ctx context.Context, req *pb.CommitRequest) (*pb.CommitResponse, error) {
	for _, m := range req.GetMutations() {
		if path := m.GetUpsert().GetKey().GetPath(); path[0].GetName() == r.name {
			return nil, status.Error(codes.InvalidArgument, "not this one")
		}
	}
	return r.Service.Commit(ctx, req)
}

func TestImportNamesWhatIsRefused(t *testing.T) {
	s := start(t)
	var keys []*pb.Key
	for i := range 100 {
		keys = append(keys, key(project, "", "A", fmt.Sprintf("%02d", i)))
	}
	s.put(keys...)
	url := s.export(nil)
	folder, err := admin.OpenFolder(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Service = admin.New(refusing{s.data, "70"}, &admin.Options{Folder: folder})
	err = s.load("copy", url, nil)
	if got := s.all("copy"); len(got) != 70 || err == nil || !strings.Contains(err.Error(), "entity A:70: not this one; ") || !strings.Contains(err.Error(), "after 70 entities") {
		t.Errorf("%d entities, %v", len(got), err)
	}
}

func TestRefusals(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	out := func(url string, f *adminpb.EntityFilter) error {
		op, err := s.ExportEntities(ctx, &adminpb.ExportEntitiesRequest{ProjectId: project, OutputUrlPrefix: url, EntityFilter: f})
		return errors.Join(err, status.FromProto(op.GetError()).Err())
	}
	many := &adminpb.EntityFilter{}
	for i := range 40 {
		many.Kinds, many.NamespaceIds = append(many.Kinds, fmt.Sprint("k", i)), append(many.NamespaceIds, fmt.Sprint("n", i))
	}
	outside := filepath.Join(filepath.Dir(s.dir), "outside")
	if err := os.Symlink(filepath.Dir(s.dir), filepath.Join(s.dir, "link")); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		err  error
		says string
	}{
		"no place":          {out("", nil), "output_url_prefix is missing"},
		"a relative place":  {out("some/where", nil), "want gs://"},
		"another scheme":    {out("s3://bucket", nil), "want gs://"},
		"no bucket":         {out("gs://", nil), "no bucket"},
		"up and away":       {out("gs://bucket/../../x", nil), "want gs://"},
		"up at once":        {out("gs://..", nil), "want gs://"},
		"outside":           {out(outside, nil), "must be below"},
		"outside by file":   {out("file://"+filepath.ToSlash(outside), nil), "must be below"},
		"another host":      {out("file://host/x", nil), "file:///PATH"},
		"a zero byte":       {out("gs://b/\x00", nil), "want gs://"},
		"through a link":    {out("gs://link/x", nil), "escapes"},
		"a kind twice":      {out("gs://b", &adminpb.EntityFilter{Kinds: []string{"A", "B", "A"}}), "twice"},
		"a namespace twice": {out("gs://b", &adminpb.EntityFilter{NamespaceIds: []string{"", ""}}), "twice"},
		"an empty kind":     {out("gs://b", &adminpb.EntityFilter{Kinds: []string{""}}), "The kind is the empty string."},
		"a large filter":    {out("gs://b", many), "1600 pairs"},
		"import, no place":  {s.load(project, "", nil), "input_url is missing"},
		"import, no file":   {s.load(project, "gs://b/none", nil), "no such file"},
		"import of link":    {s.load(project, "gs://link/none", nil), "escapes"},
		"import, folder":    {s.load(project, "gs://link", nil), ""},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", what, c.err, c.says)
		}
	}
	if _, err := s.ExportEntities(ctx, &adminpb.ExportEntitiesRequest{OutputUrlPrefix: "gs://b"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no project: %v", err)
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("something was written outside the folder")
	}

	closed := admin.New(s.data, nil)
	defer closed.Close()
	_, err := closed.ExportEntities(ctx, &adminpb.ExportEntitiesRequest{ProjectId: project, OutputUrlPrefix: "gs://b"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "--datastore-export-dir") {
		t.Errorf("without a folder: %v", err)
	}
	_, err = closed.ImportEntities(ctx, &adminpb.ImportEntitiesRequest{ProjectId: project, InputUrl: "gs://b/x"})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("without a folder: %v", err)
	}
}
