package house

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each package says once what it promises: in doc.go, or, for a program of one
// file, in main.go.
func TestEachPackageIsDocumentedOnce(t *testing.T) {
	docs := map[string][]string{} // room → files with a package comment
	rooms := map[string]string{}  // room → package name
	for _, f := range sources(t) {
		if f.test {
			if f.doc != "" && !strings.HasSuffix(f.pkg, "_test") {
				t.Errorf("%s has a package comment: it belongs into doc.go", f.path)
			}
			continue
		}
		rooms[f.room] = f.pkg
		if f.doc != "" {
			docs[f.room] = append(docs[f.room], f.path)
		}
	}
	for room, pkg := range rooms {
		want := path.Join(room, "doc.go")
		if pkg == "main" {
			want = path.Join(room, "main.go")
		}
		switch found := docs[room]; {
		case len(found) == 0:
			t.Errorf("package %s/%s has no package comment: write it in %s", module, room, want)
		case len(found) > 1:
			t.Errorf("package %s/%s has %d package comments (%s): keep the one in %s", module, room, len(found), strings.Join(found, ", "), want)
		case found[0] != want:
			t.Errorf("the package comment of %s/%s stands in %s: move it to %s", module, room, found[0], want)
		}
	}
}

// A document that points at a file of ours points at one that exists.
func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	links := 0
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".md") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			target := filepath.Join(root(t), filepath.FromSlash(path.Join(path.Dir(name), m[1])))
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	})
	if links == 0 {
		t.Error("no link found in any document: the pattern is broken")
	}
}

// A new dependency is a decision, and decisions are written down.
func TestEachDependencyHasItsReason(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile(filepath.Join(root(t), "docs/decisions/0002-dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^(?:require )?\t?([a-z0-9.]+\.[a-z]+/\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1)
	if len(direct) < 5 {
		t.Fatalf("found %d direct dependencies in go.mod: the pattern is broken", len(direct))
	}
	for _, m := range direct {
		if !strings.Contains(string(reasons), "`"+m[1]+"`") {
			t.Errorf("go.mod requires %s, and docs/decisions/0002-dependencies.md does not say why", m[1])
		}
	}
}

// Fake time only: a test file that sleeps does so inside a synctest bubble.
func TestTestsSleepInBubblesOnly(t *testing.T) {
	for _, f := range sources(t) {
		if !f.test || slices.Contains(f.imports, "testing/synctest") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(f.path)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "time."+"Sleep(") {
			t.Errorf("%s sleeps on the real clock: run it in a synctest bubble, or wait for what it waits for", f.path)
		}
	}
}
