package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// buildFolder is where a target's files are prepared.
func buildFolder(t target) string { return "build/" + string(t) }

// stage prepares a target's folder alone: for a look at it, or a deploy by hand.
func stage(ctx context.Context, t target, dir string, w world) error {
	c := config{target: t}
	if t != function { // the function's tree contains no value of the deploy
		var err error
		if c, err = configure(ctx, t, w); err != nil {
			return err
		}
	} else if t.title() == "" {
		return fmt.Errorf("no runtime has the name %q; %s", t, usage)
	}
	if err := prepare(c, dir); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "staged in %s\n", dir)
	return nil
}

// marker tells a folder that this program has made from one that it must not
// remove.
const marker = ".latchwork-staged"

// prepare fills dir, which is new or one that it filled before.
func prepare(c config, dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return fmt.Errorf("%s is not empty, and was not staged before: name another folder", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(dir, marker), []byte("Written by deploy; removed by the next run.\n")); err != nil {
		return err
	}
	switch c.target {
	case cloudRun:
		return render("service.yaml", filepath.Join(dir, "service.yaml"), c.values())
	case appEngine:
		if err := copyTree(dir, func(name string) string { return name }); err != nil {
			return err
		}
		return render("app.yaml", filepath.Join(dir, "app.yaml"), c.values())
	default:
		return copyTree(dir, functionAtRoot)
	}
}

// functionAtRoot is where a file stands in the function's tree: Cloud Functions
// takes the one package at the module's root for the function, so that of main
// makes room for it.
func functionAtRoot(name string) string {
	folder, file := path.Split(name)
	switch {
	case folder == "" && strings.HasSuffix(file, ".go"):
		return ""
	case folder == "function/":
		return file
	}
	return name
}

// copyTree copies to dir what a build on Google's side reads of this module: no
// tests and their data, no documents, no other module, nothing hidden. place says
// where a file goes; "" leaves it out.
func copyTree(dir string, place func(name string) string) error {
	target, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(p)
		if d.IsDir() {
			if name == "." {
				return nil
			}
			if abs, err := filepath.Abs(p); err != nil || abs == target {
				return errors.Join(err, fs.SkipDir)
			}
			if strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"build", "docs", "deploy", "testdata"}, d.Name()) {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(name, "_test.go") || !built(name) {
			return nil
		}
		if name = place(name); name == "" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return write(filepath.Join(dir, filepath.FromSlash(name)), text)
	})
}

// built tells whether a build reads a file: Go code, what it embeds, the module's
// files, and at the root the runtimes' own.
func built(name string) bool {
	switch path.Ext(name) {
	case ".go", ".html", ".css", ".js", ".mjs", ".svg":
		return true
	case ".mod", ".sum":
		return name == "go.mod" || name == "go.sum"
	case ".yaml":
		return !strings.Contains(name, "/")
	}
	return false
}

// render writes a file with its ${…} filled in. A name without a value is an error:
// the runtime would take it as it stands.
func render(from, to string, values map[string]string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var unknown []string
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") { // ${…} in a comment speaks of itself
			out.WriteString(line)
			continue
		}
		out.WriteString(os.Expand(line, func(name string) string {
			value, ok := values[name]
			if !ok {
				unknown = append(unknown, "${"+name+"}")
			}
			return value
		}))
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s has %s, for which there is no value", from, strings.Join(unknown, ", "))
	}
	return write(to, []byte(out.String()))
}

func write(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}
