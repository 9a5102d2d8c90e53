package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An instruction of the Dockerfile. Its grammar as far as ours goes: one
// instruction a line, no continuation, no heredoc; anything else fails the test.
type instruction struct{ name, args string }

// stages reads the Dockerfile, cut at each FROM.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENTRYPOINT", "CMD"}
	var found [][]instruction
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, args, ok := strings.Cut(line, " ")
		if !ok || !slices.Contains(known, name) || strings.HasSuffix(line, `\`) || strings.Contains(line, "<<") {
			t.Fatalf("the test doesn't know this instruction: %s", line)
		}
		if name == "FROM" {
			found = append(found, nil)
		}
		if len(found) == 0 {
			t.Fatalf("an instruction before the first FROM: %s", line)
		}
		found[len(found)-1] = append(found[len(found)-1], instruction{name, args})
	}
	return found
}

func (i instruction) is(name, args string) bool { return i.name == name && i.args == args }

// The image is a static binary on distroless, not run as root: nothing else gets
// into its final stage.
func TestDockerfile(t *testing.T) {
	s := stages(t)
	if len(s) != 2 {
		t.Fatalf("%d stages, want one that builds and one that runs", len(s))
	}
	build, final := s[0], s[1]

	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindStringSubmatch(string(mod))[1]
	if !build[0].is("FROM", "golang:"+version+" AS build") {
		t.Errorf("it is built by %q, and go.mod says go %s", build[0].args, version)
	}
	want := []instruction{
		{"FROM", "gcr.io/distroless/static-debian12:nonroot"},
		{"COPY", "--from=build /latchwork /latchwork"},
		{"ENTRYPOINT", `["/latchwork"]`},
		{"CMD", `["serve"]`},
	}
	if !slices.Equal(final, want) {
		t.Errorf("the final stage is %v, want %v", final, want)
	}
	for _, i := range final[2:] {
		if err := json.Unmarshal([]byte(i.args), new([]string)); err != nil {
			t.Errorf("%s %s needs a shell, and there is none", i.name, i.args)
		}
	}
}

// The build stage's command, run on what .dockerignore lets into the build, makes
// a binary that needs nothing: no loader, no library. It tells the version that it
// was built with, and no path of the machine that built it.
func TestDockerBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the image's binary is built anew, a minute; run without -short")
	}
	var compile string
	for _, i := range stages(t)[0] {
		if i.name == "RUN" && strings.Contains(i.args, "go build") {
			compile = i.args
		}
	}
	if !strings.Contains(compile, "-o /latchwork ") {
		t.Fatalf("the build stage doesn't write /latchwork: %s", compile)
	}
	folder, binary := t.TempDir(), filepath.Join(t.TempDir(), "latchwork")
	ignored, files := dockerignore(t), 0
	t.Chdir("..")
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || p == ".":
			return err
		case ignored(filepath.ToSlash(p)) && d.IsDir():
			return fs.SkipDir
		case ignored(filepath.ToSlash(p)) || !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files++
		return write(filepath.Join(folder, p), text)
	})
	if err != nil {
		t.Fatal(err)
	}

	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(compile, "-o /latchwork ", "-o "+quote(binary)+" ", 1))
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "VERSION=v9.8.7", "GOPROXY=off", "GOTOOLCHAIN=local", "GOFLAGS=", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", compile, err, out)
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a %v segment: it is not static", p.Type)
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary needs %v", libraries)
	}
	if f.Section(".symtab") != nil || f.Section(".debug_info") != nil {
		t.Error("the binary has symbols that nobody reads there")
	}
	if bytes.Contains(text, []byte(folder)) {
		t.Error("the binary tells the folder that it was built in")
	}
	out, err := exec.CommandContext(t.Context(), binary, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "latchwork v9.8.7 ") {
		t.Errorf("latchwork version: %v, %q", err, out)
	}
	t.Logf("built from %d files: static (no PT_INTERP, no PT_DYNAMIC), %d bytes; the final stage has what distroless/static has, and /latchwork; %s", files, len(text), out)
}
