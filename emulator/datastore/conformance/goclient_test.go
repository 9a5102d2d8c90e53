package conformance_test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore"
)

//go:embed testdata/emulator_test.go
var newTestClient []byte

// leftOut are the integration tests that can't run, with the reason.
func leftOut() map[string]string {
	return map[string]string{
		"TestIntegration_ReadOnlyTransaction": "takes the credentials of a real project",
		"TestIntegration_DetectProjectID":     "takes the credentials of a real project",
	}
}

// TestGoClient runs the integration tests of Google's Go client, each in the
// default database and in a named one, with the indexes that come with them and
// no others.
func TestGoClient(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and runs the tests of another module")
	}
	dir := copyClient(t)
	index := filepath.Join(dir, "testdata", "index.yaml")
	for _, concurrency := range []string{"pessimistic", "optimistic"} {
		t.Run(concurrency, func(t *testing.T) {
			s := serve(t, &datastore.Options{Concurrency: concurrency, Indexes: index, IndexMode: "require"})
			outcomes, log := s.runClient(t, dir)
			want := map[string][]string{}
			for _, name := range clientTests(t, dir) {
				if leftOut()[name] == "" {
					want[name] = []string{"pass", "pass"} // one for each database
				}
			}
			if len(want) < 35 {
				t.Errorf("the client has %d integration tests that can run; there were 35 in v1.28.1", len(want))
			}
			if diff := cmp.Diff(want, outcomes); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s\n%s", diff, log)
			}
			t.Logf("%d integration tests of the Go client ran, each in two databases", len(outcomes))
		})
	}
}

// copyClient copies the client's module to where a file can be added to it,
// and skips the test where its tests' dependencies are not to be had.
func copyClient(t *testing.T) (dir string) {
	t.Helper()
	const remedy = "NOT RUN AGAINST THE INTEGRATION TESTS OF GOOGLE'S GO CLIENT: %v\n" +
		"To run them, let Go fetch the modules that they need: connect to the network, or fill the module cache."
	source, err := clientModule(t)
	if err != nil {
		t.Skipf(remedy, err)
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "emulator_test.go"), newTestClient, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := goCommand(t, dir, ownModule(), "list", "-deps", "-test", "."); err != nil {
		t.Skipf(remedy, err)
	}
	return dir
}

// clientModule is the folder of the client's module in the module cache.
func clientModule(t *testing.T) (string, error) {
	t.Helper()
	out, err := goCommand(t, ".", nil, "list", "-m", "-f", "{{.Dir}}", "cloud.google.com/go/datastore")
	dir := strings.TrimSpace(out)
	if err == nil && dir == "" {
		err = errors.New("cloud.google.com/go/datastore is not in the module cache")
	}
	return dir, err
}

// clientTests lists the integration tests that the module has, and checks that
// those we leave out are among them.
func clientTests(t *testing.T, dir string) []string {
	t.Helper()
	out, err := goCommand(t, dir, ownModule(), "test", "-vet=off", "-list", "^TestIntegration_", ".")
	if err != nil {
		t.Fatal(err)
	}
	names := slices.DeleteFunc(strings.Fields(out), func(s string) bool { return !strings.HasPrefix(s, "TestIntegration_") })
	for name, reason := range leftOut() {
		if !slices.Contains(names, name) {
			t.Errorf("%s, left out because it %s, is not among the client's tests", name, reason)
		}
	}
	return names
}

// runClient runs the tests in the module's copy against s. It returns the
// outcomes by test, in no order, and what tests that did not pass have printed.
func (s *server) runClient(t *testing.T, dir string) (outcomes map[string][]string, log string) {
	t.Helper()
	env := append(ownModule(), "DATASTORE_EMULATOR_HOST="+s.addr,
		"GCLOUD_TESTS_GOLANG_PROJECT_ID=dsproj", "GCLOUD_TESTS_GOLANG_DATASTORE_DATABASES=second")
	skip := slices.Sorted(maps.Keys(leftOut()))
	out, err := goCommand(t, dir, env, "test", "-json", "-count=1", "-vet=off", "-timeout=100s",
		"-run=^TestIntegration_", "-skip=^("+strings.Join(skip, "|")+")$", ".")
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	outcomes = map[string][]string{}
	printed := map[string]*strings.Builder{} // by test, its subtests included
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var event struct{ Action, Test, Output string }
		if err := d.Decode(&event); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, subtest, _ := strings.Cut(event.Test, "/")
		switch event.Action {
		case "output", "build-output":
			if printed[name] == nil {
				printed[name] = &strings.Builder{}
			}
			if b := printed[name]; b.Len() < 8<<10 {
				b.WriteString(event.Output)
			}
		case "pass", "fail", "skip":
			if name != "" && subtest == "" {
				outcomes[name] = append(outcomes[name], event.Action)
			}
		}
	}
	for name, b := range printed {
		if !slices.Equal(outcomes[name], []string{"pass", "pass"}) {
			log += b.String()
		}
	}
	return outcomes, log
}

// ownModule is the environment in which the copy is a module of its own.
func ownModule() []string { return []string{"GOFLAGS=-mod=mod", "GOWORK=off"} }

// goCommand runs the go command in a folder, with further environment, and
// returns what it printed.
func goCommand(t *testing.T, dir string, env []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return string(out), err
}
