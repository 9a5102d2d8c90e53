package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fences returns the README's fenced blocks of a language.
func fences(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("README.md has no %s block: the test is broken", language)
	}
	return blocks
}

// The README's commands do what it shows: each line of the output is there, up to
// the figures in it. `make ci` runs this very test, so it is looked up, not run.
func TestREADMECommands(t *testing.T) {
	figures := regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)
	shape := func(line string) string {
		return strings.Join(strings.Fields(figures.ReplaceAllString(line, "N")), " ")
	}
	for _, block := range fences(t, "console") {
		command, output, _ := strings.Cut(strings.TrimPrefix(block, "$ "), "\n")
		t.Run(command, func(t *testing.T) {
			if target, ok := strings.CutPrefix(command, "make "); ok {
				if err := exec.CommandContext(t.Context(), "make", "-n", target).Run(); err != nil {
					t.Errorf("make -n %s: %v", target, err)
				}
				return
			}
			args, ok := strings.CutPrefix(command, "go run . ")
			if !ok {
				t.Fatalf("the README has a command that this test doesn't know how to run: %q", command)
			}
			got := make(map[string]bool)
			for _, line := range readmeOutput(t, strings.Fields(args)) {
				got[shape(line)] = true
			}
			for line := range strings.Lines(output) {
				if want := shape(line); want != "" && !strings.HasPrefix(want, "[") && !got[want] {
					t.Errorf("the README shows a line that %q does not print: %s", command, line)
				}
			}
		})
	}
}

// readmeOutput runs one of the program's commands: to its end, or, for one that
// serves, until it is ready.
func readmeOutput(t *testing.T, args []string) []string {
	t.Helper()
	if args[0] == "demo" {
		stdout, stderr, err := runToEnd(t, nil, args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s%s", args, err, stdout, stderr)
		}
		return strings.Split(stdout, "\n")
	}
	p := start(t, nil, args...)
	var lines []string
	for len(lines) == 0 || !strings.Contains(lines[len(lines)-1], "now running") {
		lines = append(lines, p.expect(t, ""))
	}
	return lines
}

// The README's code is part of examples/hello, to the letter, and that program
// runs: against the emulators, its task is delivered and its handler commits.
func TestREADMECode(t *testing.T) {
	program, err := os.ReadFile("examples/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range fences(t, "go") {
		if !strings.Contains(string(program), strings.TrimSpace(block)) {
			t.Errorf("the README's code is not in examples/hello/main.go:\n%s", block)
		}
	}

	emulators := start(t, nil, "emulator", "--ephemeral", "--console-addr", "off",
		"--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", "127.0.0.1:0", "--memcached-addr", "127.0.0.1:0")
	var env []string
	for range 3 {
		env = append(env, strings.TrimPrefix(emulators.expect(t, "export "), "export "))
	}
	binary := filepath.Join(t.TempDir(), "hello")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./examples/hello").CombinedOutput(); err != nil {
		t.Fatalf("go build ./examples/hello: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary)
	cmd.Env = append(env, "HOME="+t.TempDir())
	hello := launch(t, cmd)
	hello.expect(t, "hello, ada")
	if err := hello.interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}
