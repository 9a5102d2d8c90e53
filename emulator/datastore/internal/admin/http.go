package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore/internal/export"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Rules are the paths of the operations, which Datastore has in its
// configuration and not in annotations.
func Rules() []*annotations.HttpRule {
	const one = "/v1/{name=projects/*/operations/*}"
	return []*annotations.HttpRule{
		{Selector: "google.longrunning.Operations.GetOperation", Pattern: &annotations.HttpRule_Get{Get: one}},
		{Selector: "google.longrunning.Operations.ListOperations", Pattern: &annotations.HttpRule_Get{Get: "/v1/{name=projects/*}/operations"}},
		{Selector: "google.longrunning.Operations.DeleteOperation", Pattern: &annotations.HttpRule_Delete{Delete: one}},
		{Selector: "google.longrunning.Operations.CancelOperation", Pattern: &annotations.HttpRule_Post{Post: one + ":cancel"}, Body: "*"},
	}
}

// maxBody bounds the body of a request that says where an export is.
const maxBody = 64 << 10

// location is such a body: of a database, projects/PROJECT/databases/DATABASE,
// "" being the default one. An export is written to ExportDirectory/ExportName;
// an import reads the overall metadata that ExportDirectory names.
type location struct {
	Database        string `json:"database"`
	ExportDirectory string `json:"export_directory"`
	ExportName      string `json:"export_name"`
}

// Emulator serves what Google's Firestore emulator has beside the API:
// /emulator/v1/projects/PROJECT:export and :import. Both answer {} at the end.
func (s *Service) Emulator(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	err := s.transfer(w, r)
	if err == nil {
		_, _ = w.Write([]byte("{}\n"))
		return
	}
	failed := toStatus(importError(err))
	httpStatus := http.StatusInternalServerError
	switch failed.Code() {
	case codes.InvalidArgument, codes.FailedPrecondition:
		httpStatus = http.StatusBadRequest
	case codes.NotFound:
		httpStatus = http.StatusNotFound
	case codes.AlreadyExists:
		httpStatus = http.StatusConflict
	}
	w.WriteHeader(httpStatus)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": httpStatus, "message": failed.Message(), "status": code.Code(failed.Code()).String()}})
}

// transfer exports or imports. The whole is over when the client goes.
func (s *Service) transfer(w http.ResponseWriter, r *http.Request) error {
	exports := strings.HasSuffix(r.URL.Path, ":export")
	if !exports && !strings.HasSuffix(r.URL.Path, ":import") {
		return status.Error(codes.NotFound, "Not Found")
	}
	var body location
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || d.More() {
		return invalid("Payload isn't valid for request.")
	}
	names := strings.Split(body.Database, "/")
	if len(names) != 4 || names[0] != "projects" || names[2] != "databases" {
		return invalid("Invalid database path: %s", body.Database)
	}
	project, database := names[1], names[3]
	view, err := s.data.Snapshot(project, database)
	if err != nil {
		return err
	}
	place, err := s.folder.place("export_directory", body.ExportDirectory)
	if err != nil {
		return err
	}
	if exports {
		name := cmp.Or(body.ExportName, fmt.Sprintf("datastore_export_%d", time.Now().Unix()))
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
			return invalid("export_name is %q: it must be the name of a folder", name)
		}
		return s.replace(r.Context(), view, place, name)
	}
	if body.ExportName != "" {
		return invalid("Payload isn't valid for request.")
	}
	in, err := s.openImport(place, export.Filter{})
	if err != nil {
		return err
	}
	defer in.close()
	in.project, in.database = project, database
	return in.run(r.Context(), &progress{})
}

// replace writes an export in the place of an older one of that name.
func (s *Service) replace(ctx context.Context, view storage.View, prefix, name string) error {
	root, err := s.folder.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if info, err := root.Stat(prefix); err != nil || !info.IsDir() {
		return status.Error(codes.FailedPrecondition, "export_directory must be a directory")
	}
	final, fresh := path.Join(prefix, name), path.Join(prefix, name+"."+rand.Text())
	_, err = root.Stat(final)
	if err == nil {
		// What else may be there is not ours to remove.
		if _, err := export.Open(root, path.Join(final, name+export.OverallSuffix)); err != nil {
			return status.Errorf(codes.AlreadyExists, "%s is there, and no export: %v", final, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := s.write(ctx, root, view, export.Filter{}, fresh, name, &progress{}); err != nil {
		return err
	}
	return errors.Join(root.RemoveAll(final), root.Rename(fresh, final))
}
