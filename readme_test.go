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
	program := build(t, ".") // as `go run` does: without the race detector
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
			for _, line := range readmeOutput(t, program, strings.Fields(args)) {
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
// serves, until it is ready. Ports are free ones, whatever else runs here.
func readmeOutput(t *testing.T, program string, args []string) []string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "LATCHWORK_CLOUD_TASKS_ADDR=127.0.0.1:0", "LATCHWORK_DATASTORE_ADDR=127.0.0.1:0",
		"LATCHWORK_MEMCACHED_ADDR=127.0.0.1:0", "LATCHWORK_CONSOLE_ADDR=127.0.0.1:0",
		"LATCHWORK_DEMO_WITHIN=5m"} // no test is a timed one: other packages' tests may have the machine
	p := launch(t, cmd)
	last := "now running"
	if args[0] == "demo" {
		last = "The books"
	}
	var lines []string
	for len(lines) == 0 || !strings.Contains(lines[len(lines)-1], last) {
		lines = append(lines, p.expect(t, ""))
	}
	return lines
}

// build compiles one of the repository's programs.
func build(t *testing.T, pkg string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return binary
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
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), build(t, "./examples/hello"))
	cmd.Env = append(env, "HOME="+t.TempDir())
	hello := launch(t, cmd)
	hello.expect(t, "hello, ada")
	if err := hello.interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}
