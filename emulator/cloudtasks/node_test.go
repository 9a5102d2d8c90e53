package cloudtasks_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestNodeClients runs Google's Node clients against a server on a real port:
// @google-cloud/tasks over gRPC and REST, and firebase-admin's task queues.
func TestNodeClients(t *testing.T) {
	const remedy = "NOT TESTED WITH GOOGLE'S NODE CLIENTS: %v. " +
		"`make test-clients` (LATCHWORK_CLIENTS=1) does so; it downloads the clients with npm, so node and npm must be there."
	if os.Getenv("LATCHWORK_CLIENTS") == "" {
		t.Skipf(remedy, "LATCHWORK_CLIENTS is not set")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf(remedy, err)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "node"))); err != nil {
		t.Fatal(err)
	}
	addr := listen(t, nil)
	worker := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer worker.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"},
		{"npm", "test", "--silent"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		cmd.WaitDelay = 10 * time.Second
		cmd.Env = append(os.Environ(), "CLOUD_TASKS_EMULATOR_HOST="+addr, "WORKER_URL="+worker.URL)
		out, err := cmd.CombinedOutput()
		if t.Logf("%q\n%s", args, out); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
	}
}
