package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptCommands are what scripts know beside the program.
func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"serving": serving,
		"request": request,
	}
}

// serving runs `latchwork serve` in the working directory, on free ports, until the
// script ends, and sets the variables that lead clients to it. Arguments are flags.
func serving(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: serving [flags]")
	}
	const free = "127.0.0.1:0"
	args = append([]string{"serve", "--ephemeral", "--addr", free, "--cloud-tasks-addr", free, "--datastore-addr", free, "--memcached-addr", free, "--console-addr", "off", "--sweep", "1h", "--no-welcome"}, args...)
	cmd := exec.CommandContext(context.Background(), os.Args[0], args...) // Defer ends it
	cmd.Env = []string{"LATCHWORK_TEST_MAIN=1", "HOME=" + ts.Getenv("HOME")}
	cmd.Dir = ts.MkAbs(".")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait() // killed
	})
	ts.Defer(stop)
	lines := bufio.NewScanner(stdout)
	ready := false
	for !ready && lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "="); ok && strings.HasPrefix(line, "export ") {
			ts.Setenv(name, value)
		}
		if url, ok := strings.CutPrefix(line, "worker "); ok {
			ts.Setenv("WORKER_URL", strings.TrimSpace(url))
		}
		ready = strings.HasPrefix(line, "In another terminal")
	}
	go func() { // its output must not block it
		defer close(ended)
		for lines.Scan() {
		}
	}()
	if !ready {
		stop()
		ts.Fatalf("latchwork %s ended before it served:\n%s", strings.Join(args, " "), stderr.String())
	}
}

// request sends an HTTP request: `request METHOD URL [FILE]`, where FILE is a JSON
// body. Any answer but 200 is a failure.
func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: request METHOD URL [FILE]")
	}
	body := ""
	if len(args) == 3 {
		body = ts.ReadFile(args[2])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, args[0], args[1], strings.NewReader(body))
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	ts.Check(err)
	if answer.StatusCode != http.StatusOK {
		ts.Fatalf("%s %s: %s: %s", args[0], args[1], answer.Status, text)
	}
}
