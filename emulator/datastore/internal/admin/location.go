package admin

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Folder is where exports are written and imports read: below the folder alone.
type Folder struct{ path string }

// OpenFolder makes the folder if need be; "" refuses every export and import.
func OpenFolder(dir string) (Folder, error) {
	if dir == "" {
		return Folder{}, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Folder{}, err
	}
	return Folder{abs}, os.MkdirAll(abs, 0o755)
}

// open returns the folder for one operation.
func (f Folder) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the folder of --datastore-export-dir: %v", err)
	}
	return root, nil
}

// place translates a location into a path below the folder: gs://bucket/path to
// bucket/path; a path on this machine, as it is or behind file://, to what it is
// below the folder.
func (f Folder) place(field, location string) (string, error) {
	const forms = "gs://BUCKET[/PATH], or a path below the folder of --datastore-export-dir"
	switch {
	case f.path == "":
		return "", status.Error(codes.FailedPrecondition,
			"exports and imports need a folder: start the emulator with --datastore-export-dir DIR (the option ExportDir); gs://BUCKET/PATH is DIR/BUCKET/PATH then")
	case location == "":
		return "", invalid("%s is missing: want %s", field, forms)
	}
	var place string
	if rest, ok := strings.CutPrefix(location, "gs://"); ok {
		if place = rest; place == "" || place[0] == '/' {
			return "", invalid("%s is %q: it names no bucket", field, location)
		}
	} else {
		local := location
		if strings.HasPrefix(location, "file:") {
			u, err := url.Parse(location)
			if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
				return "", invalid("%s is %q: want file:///PATH", field, location)
			}
			local = filepath.FromSlash(u.Path)
		}
		if !filepath.IsAbs(local) {
			return "", invalid("%s is %q: want %s", field, location, forms)
		}
		rel, err := filepath.Rel(f.path, filepath.Clean(local))
		if err != nil || !filepath.IsLocal(rel) {
			return "", invalid("%s is %q: it must be below %s, the folder of --datastore-export-dir", field, location, f.path)
		}
		place = filepath.ToSlash(rel)
	}
	if place = path.Clean(place); !filepath.IsLocal(filepath.FromSlash(place)) || strings.ContainsAny(place, "\\\x00") {
		return "", invalid("%s is %q: want %s", field, location, forms)
	}
	return place, nil
}
