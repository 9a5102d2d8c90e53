package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/latchwork/latchwork"

// A file is one Go source file, parsed as far as the rules need it.
type file struct {
	path    string // slash-separated, from the root of the repository
	room    string // the folder it stands in: "" for the root
	pkg     string
	test    bool
	doc     string // the package comment, if the file has one
	imports []string
}

// imported returns the rooms of this module that f imports.
func (f file) imported() []string {
	var rooms []string
	for _, imp := range f.imports {
		if imp == module {
			rooms = append(rooms, "")
		} else if rest, ok := strings.CutPrefix(imp, module+"/"); ok {
			rooms = append(rooms, rest)
		}
	}
	return rooms
}

// root returns the repository's root folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("the root of the repository is not where this package expects it: %v", err)
	}
	return dir
}

// walk calls visit for each file of the repository that is ours: no hidden
// folders, no vendored code, no modules of their own.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		if !d.IsDir() {
			visit(filepath.ToSlash(rel))
			return nil
		}
		if rel == "." {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"vendor", "node_modules", "testdata"}, d.Name()) {
			return filepath.SkipDir
		}
		if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses every Go file of the module.
func sources(t *testing.T) []file {
	t.Helper()
	var files []file
	fset := token.NewFileSet()
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		parsed, err := parser.ParseFile(fset, filepath.Join(root(t), filepath.FromSlash(name)), nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, describe(name, parsed))
	})
	if len(files) < 20 {
		t.Fatalf("found %d Go files: the walk is broken, and no rule below would mean anything", len(files))
	}
	return files
}

func describe(name string, parsed *ast.File) file {
	room := path.Dir(name)
	if room == "." {
		room = ""
	}
	f := file{path: name, room: room, pkg: parsed.Name.Name, test: strings.HasSuffix(name, "_test.go"), doc: parsed.Doc.Text()}
	for _, spec := range parsed.Imports {
		if imp, err := strconv.Unquote(spec.Path.Value); err == nil {
			f.imports = append(f.imports, imp)
		}
	}
	return f
}

// within tells whether room is one of rooms or lies below one of them.
func within(room string, rooms ...string) bool {
	return slices.ContainsFunc(rooms, func(r string) bool {
		return room == r || strings.HasPrefix(room, r+"/")
	})
}
