package datastore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	ds "cloud.google.com/go/datastore"
	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
)

// index describes an index as clients do: "Kind a -b", with a "^" where it has
// ancestors.
func index(text string) *adminpb.Index {
	kind, rest, _ := strings.Cut(text, " ")
	x := &adminpb.Index{Kind: kind, Ancestor: adminpb.Index_NONE}
	for word := range strings.FieldsSeq(rest) {
		name, desc := strings.CutPrefix(word, "-")
		direction := adminpb.Index_ASCENDING
		if desc {
			direction = adminpb.Index_DESCENDING
		}
		if word == "^" {
			x.Ancestor = adminpb.Index_ALL_ANCESTORS
			continue
		}
		x.Properties = append(x.Properties, &adminpb.Index_IndexedProperty{Name: name, Direction: direction})
	}
	return x
}

func TestIndexesThroughDatastoreAdmin(t *testing.T) {
	s := start(t, &datastore.Options{IndexMode: "require"})
	admin, c := adminpb.NewDatastoreAdminClient(s.dial()), s.client()
	ctx := t.Context()
	query := ds.NewQuery("K").FilterField("a", "=", 1).Order("-b")
	if _, err := keysOf(c, t, query); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("the query is answered without its index: %v", err)
	}

	op, err := admin.CreateIndex(ctx, &adminpb.CreateIndexRequest{ProjectId: project, Index: index("K a -b")})
	if err != nil {
		t.Fatal(err)
	}
	if !op.Done || !strings.HasPrefix(op.Name, "projects/"+project+"/operations/") {
		t.Errorf("the operation: %v", op)
	}
	created, meta := new(adminpb.Index), new(adminpb.IndexOperationMetadata)
	if err := op.GetResponse().UnmarshalTo(created); err != nil {
		t.Fatal(err)
	}
	if err := op.GetMetadata().UnmarshalTo(meta); err != nil {
		t.Fatal(err)
	}
	if meta.IndexId != created.IndexId || meta.Common.OperationType != adminpb.OperationType_CREATE_INDEX || meta.Common.State != adminpb.CommonMetadata_SUCCESSFUL {
		t.Errorf("its metadata: %v", meta)
	}
	want := index("K a -b")
	want.ProjectId, want.IndexId, want.State = project, created.IndexId, adminpb.Index_READY
	got, err := admin.GetIndex(ctx, &adminpb.GetIndexRequest{ProjectId: project, IndexId: created.IndexId})
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := keysOf(c, t, query); err != nil {
		t.Errorf("the index is there: %v", err)
	}
	if again, err := lro.NewOperationsClient(s.dial()).GetOperation(ctx, &lro.GetOperationRequest{Name: op.Name}); err != nil || !cmp.Equal(op, again, protocmp.Transform()) {
		t.Errorf("the operation is now %v, %v", again, err)
	}

	if _, err := admin.DeleteIndex(ctx, &adminpb.DeleteIndexRequest{ProjectId: project, IndexId: created.IndexId}); err != nil {
		t.Fatal(err)
	}
	if _, err := keysOf(c, t, query); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("the index is gone: %v", err)
	}
	for _, call := range []func() error{
		func() error {
			_, err := admin.GetIndex(ctx, &adminpb.GetIndexRequest{ProjectId: project, IndexId: created.IndexId})
			return err
		},
		func() error {
			_, err := admin.DeleteIndex(ctx, &adminpb.DeleteIndexRequest{ProjectId: project, IndexId: created.IndexId})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), created.IndexId) {
			t.Errorf("the index is gone: %v", err)
		}
	}
}

func TestListIndexes(t *testing.T) {
	s := start(t, nil)
	admin := adminpb.NewDatastoreAdminClient(s.dial())
	ctx := t.Context()
	for i := range 5 {
		for _, form := range []string{"K%d a b", "K%d ^ a"} {
			if _, err := admin.CreateIndex(ctx, &adminpb.CreateIndexRequest{ProjectId: project, Index: index(fmt.Sprintf(form, i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := admin.ListIndexes(ctx, &adminpb.ListIndexesRequest{ProjectId: project})
	if err != nil || len(all.Indexes) != 10 || all.NextPageToken != "" {
		t.Fatalf("%v, %v", all, err)
	}
	for _, size := range []int32{1, 3, 5, 10, 11} {
		var paged []*adminpb.Index
		token := ""
		for first := true; first || token != ""; first = false {
			page, err := admin.ListIndexes(ctx, &adminpb.ListIndexesRequest{ProjectId: project, PageSize: size, PageToken: token})
			if err != nil || len(page.Indexes) > int(size) {
				t.Fatalf("%v, %v", page, err)
			}
			paged, token = append(paged, page.Indexes...), page.NextPageToken
		}
		if diff := cmp.Diff(all.Indexes, paged, protocmp.Transform()); diff != "" {
			t.Errorf("by pages of %d: %s", size, diff)
		}
	}
	for filter, want := range map[string]int{
		" ":                            10,
		"kind=K1":                      2,
		`kind = "K1"  AND state=READY`: 2,
		"kind!=K1 AND kind!=K2 AND ancestor=ALL_ANCESTORS": 3,
		"index_id=" + all.Indexes[4].IndexId:               1,
		"kind=K9":                                          0,
	} {
		got, err := admin.ListIndexes(ctx, &adminpb.ListIndexesRequest{ProjectId: project, Filter: filter})
		if err != nil || len(got.Indexes) != want {
			t.Errorf("%s: %d indexes, %v, want %d", filter, len(got.GetIndexes()), err, want)
		}
	}

	// The same over HTTP.
	resp, body := s.ask("GET", "/v1/projects/"+project+"/indexes?prettyPrint=false&pageSize=1&filter=kind%3DK3", nil)
	if resp.StatusCode != 200 || !strings.Contains(body, `"kind":"K3"`) || !strings.Contains(body, `"nextPageToken":"`) {
		t.Errorf("over HTTP: %d %s", resp.StatusCode, body)
	}
	resp, body = s.ask("POST", "/v1/projects/"+project+"/indexes?prettyPrint=false", strings.NewReader(
		`{"kind":"H","ancestor":"NONE","properties":[{"name":"a","direction":"ASCENDING"},{"name":"b","direction":"DESCENDING"}]}`))
	if resp.StatusCode != 200 || !strings.Contains(body, `"done":true`) {
		t.Errorf("over HTTP: %d %s", resp.StatusCode, body)
	}
	now, err := admin.ListIndexes(ctx, &adminpb.ListIndexesRequest{ProjectId: project, Filter: "kind=H"})
	if err != nil || len(now.Indexes) != 1 {
		t.Fatalf("%v, %v", now, err)
	}
	resp, body = s.ask("DELETE", "/v1/projects/"+project+"/indexes/"+now.Indexes[0].IndexId+"?prettyPrint=false", nil)
	if resp.StatusCode != 200 || !strings.Contains(body, `"operationType":"DELETE_INDEX"`) {
		t.Errorf("over HTTP: %d %s", resp.StatusCode, body)
	}
}

func TestIndexRequestsAreChecked(t *testing.T) {
	s := start(t, nil)
	admin := adminpb.NewDatastoreAdminClient(s.dial())
	ctx := t.Context()
	create := func(project string, x *adminpb.Index) error {
		_, err := admin.CreateIndex(ctx, &adminpb.CreateIndexRequest{ProjectId: project, Index: x})
		return err
	}
	list := func(req *adminpb.ListIndexesRequest) error {
		_, err := admin.ListIndexes(ctx, req)
		return err
	}
	changed := func(x *adminpb.Index, f func(*adminpb.Index)) *adminpb.Index {
		f(x)
		return x
	}
	if err := create(project, index("K a b")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		code codes.Code
		want string
	}{
		{create("", index("K a b")), codes.InvalidArgument, "The app id is the empty string."},
		{create("a/b", index("K a b")), codes.InvalidArgument, `Illegal string "a/b" in app id.`},
		{create(project, nil), codes.InvalidArgument, "index is missing"},
		{create(project, index("K a b")), codes.AlreadyExists, "the index exists already"},
		{create(project, index("K")), codes.InvalidArgument, `the index of the kind "K" has 0 properties: it needs from 1 to 100`},
		{create(project, index(" a b")), codes.InvalidArgument, "the kind is the empty string"},
		{create(project, index("K a")), codes.InvalidArgument, "Indexes with a single property cannot be created."},
		{create(project, index("K a "+strings.Repeat("p", 1501))), codes.InvalidArgument, "the property is longer than 1500 bytes"},
		{create(project, index("K"+strings.Repeat(" p", 101))), codes.InvalidArgument, `the index of the kind "K" has 101 properties: it needs from 1 to 100`},
		{create(project, changed(index("K a b"), func(x *adminpb.Index) { x.Ancestor = 0 })), codes.InvalidArgument,
			"ancestor is ANCESTOR_MODE_UNSPECIFIED: it must be NONE or ALL_ANCESTORS"},
		{create(project, changed(index("K a b"), func(x *adminpb.Index) { x.Properties[1].Direction = 7 })), codes.InvalidArgument,
			`the direction of the property "b" is 7: it must be ASCENDING or DESCENDING`},
		{list(&adminpb.ListIndexesRequest{}), codes.InvalidArgument, "The app id is the empty string."},
		{list(&adminpb.ListIndexesRequest{ProjectId: project, PageSize: -1}), codes.InvalidArgument, "page_size is -1: it must not be negative"},
		{list(&adminpb.ListIndexesRequest{ProjectId: project, PageToken: "x"}), codes.InvalidArgument, `page_token "x" is not one of a previous answer`},
	} {
		if status.Code(c.err) != c.code || status.Convert(c.err).Message() != c.want {
			t.Errorf("got %v, want %v %s", c.err, c.code, c.want)
		}
	}
	for _, filter := range []string{"kind", "kind=", "kind=K AND", "AND kind=K", "size=3", "kind=K OR kind=L", "kind=K kind=L", `kind="K`, "kind=K AND AND kind=L"} {
		if err := list(&adminpb.ListIndexesRequest{ProjectId: project, Filter: filter}); status.Code(err) != codes.InvalidArgument ||
			!strings.Contains(err.Error(), "a filter is like") {
			t.Errorf("filter %q: %v", filter, err)
		}
	}
	if _, err := admin.GetIndex(ctx, &adminpb.GetIndexRequest{ProjectId: project}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("without an index: %v", err)
	}
	kinds := []string{}
	all, err := admin.ListIndexes(ctx, &adminpb.ListIndexesRequest{ProjectId: project})
	for _, x := range all.GetIndexes() {
		kinds = append(kinds, x.Kind)
	}
	if err != nil || !slices.Equal(kinds, []string{"K"}) {
		t.Errorf("what was refused left %v, %v", kinds, err)
	}
}
