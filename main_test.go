package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the program, or a worker of TestRollingRestart:
// scripts and the tests of whole processes start it again.
func TestMain(m *testing.M) {
	if os.Getenv("LATCHWORK_TEST_MAIN") != "" {
		main()
	}
	if os.Getenv("LATCHWORK_TEST_WORKER") != "" {
		if err := rollingWorker(os.Args[1], os.Args[2], os.Args[3], os.Getenv, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testscript.Main(m, map[string]func(){"latchwork": main})
}

// TestScripts runs the program as its users do: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: scriptCommands(),
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}

// A process is the program running in a process of its own.
type process struct {
	cmd   *exec.Cmd
	lines chan string // of its standard output; closed when it ends
}

// start runs the program with args until the test ends or kill is called. env is
// all that the process sees of the environment.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], args...)
	cmd.Env = append([]string{"LATCHWORK_TEST_MAIN=1", "HOME=" + t.TempDir()}, env...)
	cmd.Dir = t.TempDir()
	return launch(t, cmd)
}

// launch starts cmd and reads its output until it ends.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	if cmd.Stderr == nil {
		cmd.Stderr = &testWriter{t: t, prefix: strings.Join(cmd.Args[min(1, len(cmd.Args)-1):][:1], "") + ": "}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, lines: make(chan string, 1<<16)}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() { p.kill(t) })
	return p
}

// runToEnd runs the program and returns what it said.
func runToEnd(t *testing.T, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append([]string{"LATCHWORK_TEST_MAIN=1", "HOME=" + t.TempDir()}, env...)
	cmd.Dir = t.TempDir()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func exitStatus(t *testing.T, args ...string) int {
	t.Helper()
	_, _, err := runToEnd(t, nil, args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// expect reads lines until one contains want.
func (p *process) expect(t *testing.T, want string) string {
	t.Helper()
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("%v ended before it printed %q", p.cmd.Args, want)
			}
			if strings.Contains(line, want) {
				return line
			}
		case <-t.Context().Done():
			t.Fatalf("%v did not print %q", p.cmd.Args, want)
		}
	}
}

// kill is kill -9. It may be called twice.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Log(err)
	}
	for range p.lines { // its output ends with it
	}
	p.cmd.Wait() // the error is that it was killed
}

// interrupt asks the process to end, and returns how it ended.
func (p *process) interrupt(t *testing.T) error {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	return p.end()
}

// end waits for the process to end by itself.
func (p *process) end() error {
	for range p.lines {
	}
	return p.cmd.Wait()
}

// testWriter logs what a process says on its standard error.
type testWriter struct {
	t      *testing.T
	prefix string
}

var _ io.Writer = (*testWriter)(nil)

func (w *testWriter) Write(p []byte) (int, error) {
	w.t.Log(w.prefix + strings.TrimSpace(string(p)))
	return len(p), nil
}
