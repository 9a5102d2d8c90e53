package datastore_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ds "cloud.google.com/go/datastore"
	admin "cloud.google.com/go/datastore/admin/apiv1"
	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	"github.com/latchwork/latchwork/emulator/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestExportAndImport, with Google's client for DatastoreAdmin, from one server
// into another.
func TestExportAndImport(t *testing.T) {
	dir := t.TempDir()
	from, to := start(t, &datastore.Options{ExportDir: dir}), start(t, &datastore.Options{ExportDir: dir})
	ctx := t.Context()
	var keys []*ds.Key
	var want []counter
	for i := range 1200 {
		keys, want = append(keys, ds.IDKey("Counter", int64(i+1), nil)), append(want, counter{N: i, Note: fmt.Sprint(i)})
	}
	for i := 0; i < len(keys); i += 400 {
		if _, err := from.client().PutMulti(ctx, keys[i:i+400], want[i:i+400]); err != nil {
			t.Fatal(err)
		}
	}
	client := func(e *env) *admin.DatastoreAdminClient {
		c, err := admin.NewDatastoreAdminClient(ctx, option.WithGRPCConn(e.dial()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	exporting, err := client(from).ExportEntities(ctx, &adminpb.ExportEntitiesRequest{ProjectId: project, OutputUrlPrefix: "gs://bucket",
		EntityFilter: &adminpb.EntityFilter{Kinds: []string{"Counter"}}})
	if err != nil {
		t.Fatal(err)
	}
	exported, err := exporting.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := exporting.Metadata(); err != nil || m.GetProgressEntities().GetWorkCompleted() != 1200 || m.GetCommon().GetState() != adminpb.CommonMetadata_SUCCESSFUL {
		t.Errorf("metadata %v, %v", m, err)
	}
	importing, err := client(to).ImportEntities(ctx, &adminpb.ImportEntitiesRequest{ProjectId: project, InputUrl: exported.GetOutputUrl()})
	if err != nil {
		t.Fatal(err)
	}
	if err := importing.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	got := make([]counter, len(keys))
	for i := 0; i < len(keys); i += 400 {
		if err := to.client().GetMulti(ctx, keys[i:i+400], got[i:i+400]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("entity %d is %v; want %v", i, got[i], want[i])
		}
	}
	_, err = client(to).ImportEntities(ctx, &adminpb.ImportEntitiesRequest{ProjectId: project, InputUrl: exported.GetOutputUrl(),
		EntityFilter: &adminpb.EntityFilter{Kinds: []string{"Other"}}})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("what the export doesn't have: %v", err)
	}
}

// TestExportOverHTTP: as people do it with curl, with the API and with the
// paths of Google's Firestore emulator.
func TestExportOverHTTP(t *testing.T) {
	dir := t.TempDir()
	e := start(t, &datastore.Options{ExportDir: dir})
	if _, err := e.client().Put(t.Context(), ds.NameKey("Counter", "a", nil), &counter{N: 1}); err != nil {
		t.Fatal(err)
	}
	post := func(path, body string, code int) (answer struct {
		Name, Done any
		Response   struct {
			OutputURL string `json:"outputUrl"`
		}
		Operations []json.RawMessage
		Error      struct{ Message string }
	}) {
		t.Helper()
		method := "POST"
		if body == "" {
			method = "GET"
		}
		resp, text := e.ask(method, path, strings.NewReader(body), "Content-Type", "application/json")
		if err := json.Unmarshal([]byte(text), &answer); err != nil || resp.StatusCode != code {
			t.Fatalf("%s %s: %d %s, %v; want %d", path, body, resp.StatusCode, text, err, code)
		}
		return answer
	}
	exported := post("/v1/projects/proj:export", `{"outputUrlPrefix":"gs://bucket/x"}`, 200)
	if exported.Done != true || !strings.HasPrefix(exported.Response.OutputURL, "gs://bucket/x/") {
		t.Errorf("export: %+v", exported)
	}
	if got := post("/v1/"+fmt.Sprint(exported.Name), "", 200); got.Name != exported.Name {
		t.Errorf("the operation %v is %v", exported.Name, got.Name)
	}
	if got := post("/v1/projects/other:import", `{"inputUrl":"`+exported.Response.OutputURL+`"}`, 200); got.Done != true || got.Error.Message != "" {
		t.Errorf("import: %+v", got)
	}
	if got := post("/v1/projects/proj/operations", "", 200); len(got.Operations) != 1 {
		t.Errorf("%d operations of the project", len(got.Operations))
	}

	in, err := json.Marshal(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second replaces the first
		post("/emulator/v1/projects/proj:export", `{"database":"projects/proj/databases/","export_directory":`+string(in)+`,"export_name":"n"}`, 200)
	}
	file, err := json.Marshal(filepath.Join(dir, "n", "n.overall_export_metadata"))
	if err != nil {
		t.Fatal(err)
	}
	post("/emulator/v1/projects/proj:import", `{"database":"projects/third/databases/named","export_directory":`+string(file)+`}`, 200)
	var n counter
	c, err := ds.NewClientWithDatabase(t.Context(), "third", "named", option.WithGRPCConn(e.dial()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Get(t.Context(), ds.NameKey("Counter", "a", nil), &n); err != nil || n.N != 1 {
		t.Errorf("imported %v, %v", n, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("in the folder are %v, %v; want bucket and n", left, err)
	}

	if err := os.Mkdir(filepath.Join(dir, "mine"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		action, body string
		code         int
		says         string
	}{
		{"export", `{"database":"projects/proj/databases/","export_directory":` + string(in) + `,"export_name":"mine"}`, 409, "no export"},
		{"export", `{"database":"projects/proj/databases/","export_directory":` + string(in) + `,"export_name":"../x"}`, 400, "export_name"},
		{"export", `{"database":"projects/proj/databases/","export_directory":"/elsewhere","export_name":"x"}`, 400, "must be below"},
		{"export", `{"database":"projects/proj/databases/","export_directory":"gs://none","export_name":"x"}`, 400, "export_directory must be a directory"},
		{"export", `{"export_directory":` + string(in) + `}`, 400, "Invalid database path: "},
		{"export", `{"database":"projects/proj/databases/(default)","export_directory":` + string(in) + `}`, 400, "invalid database id"},
		{"export", `{"unknown":1}`, 400, "Payload isn't valid for request."},
		{"export", `{`, 400, "Payload isn't valid for request."},
		{"import", `{"database":"projects/proj/databases/","export_directory":` + string(in) + `,"export_name":"n"}`, 400, "Payload isn't valid for request."},
		{"import", `{"database":"projects/proj/databases/","export_directory":` + string(in) + `}`, 400, "not a file"},
		{"import", `{"database":"projects/proj/databases/","export_directory":"gs://none/x"}`, 404, "no such file"},
		{"purge", `{}`, 404, "Not Found"},
	} {
		if got := post("/emulator/v1/projects/proj:"+c.action, c.body, c.code); !strings.Contains(got.Error.Message, c.says) {
			t.Errorf("%s %s: %q; want %q", c.action, c.body, got.Error.Message, c.says)
		}
	}
}
