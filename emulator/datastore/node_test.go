package datastore_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore"
)

// TestNodeClient runs Google's Node client, over gRPC and over REST, against a
// server on a real port.
func TestNodeClient(t *testing.T) {
	const remedy = "NOT TESTED WITH GOOGLE'S NODE CLIENT: %v. " +
		"`make test-clients` (LATCHWORK_CLIENTS=1) does so; it downloads the client with npm, so node and npm must be there."
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
	s, err := datastore.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"},
		{"npm", "test", "--silent"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		cmd.WaitDelay = 10 * time.Second
		cmd.Env = append(os.Environ(), "DATASTORE_EMULATOR_HOST="+l.Addr().String(), "DATASTORE_PROJECT_ID=node-project")
		out, err := cmd.CombinedOutput()
		if t.Logf("%q\n%s", args, out); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
	}
	for _, method := range []string{"Lookup", "RunQuery", "RunAggregationQuery", "Commit", "Rollback", "BeginTransaction", "AllocateIds"} {
		if s.Stats().Calls[method] == 0 {
			t.Errorf("%s was not called", method)
		}
	}
}
