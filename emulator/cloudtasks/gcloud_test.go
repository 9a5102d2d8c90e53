package cloudtasks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// TestGcloud holds the Google Cloud CLI, unmodified, to a transcript: a few
// calls of each version of the API.
func TestGcloud(t *testing.T) { replayGcloud(t, "gcloud-short.txt") }

// TestGcloudTranscript does so with all that the CLI can do.
func TestGcloudTranscript(t *testing.T) {
	if os.Getenv("LATCHWORK_CLIENTS") == "" {
		t.Skip("NOT TESTED WITH ALL OF GCLOUD: LATCHWORK_CLIENTS is not set. `make test-clients` does so; it takes minutes.")
	}
	replayGcloud(t, "gcloud.txt")
}

// replayGcloud runs the commands of a file, the lines that begin with $, and
// compares what they print, which is indented below them. WORKER stands for the
// address of a worker.
func replayGcloud(t *testing.T, name string) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skipf("NOT TESTED WITH GCLOUD: %v. Install the Google Cloud CLI.", err)
	}
	if testing.Short() {
		t.Skip("each call of gcloud takes a second or more")
	}
	addr := listen(t, nil)
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer worker.Close()
	env := append(os.Environ(),
		"CLOUDSDK_CONFIG="+t.TempDir(), "CLOUDSDK_CORE_PROJECT=p", "CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true",
		"CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=true", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true",
		"CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDTASKS=http://"+addr+"/", "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDSCHEDULER=http://"+addr+"/", "LC_ALL=C.UTF-8")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()

	file := filepath.Join("testdata", name)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	saved := "" // what SAVED stands for: the schedule time that was printed last
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue // an answer
		}
		out = append(out, line)
		command, ok := strings.CutPrefix(line, "$ gcloud ")
		if !ok {
			continue
		}
		args := words(strings.NewReplacer("WORKER", worker.URL, "SAVED", saved).Replace(command))
		cmd := exec.CommandContext(ctx, gcloud, args...)
		cmd.Env, cmd.WaitDelay = env, 10*time.Second
		printed, err := cmd.CombinedOutput()
		if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
			t.Fatalf("%s: %v", line, err)
		}
		if found := scheduled.FindSubmatch(printed); found != nil {
			saved = string(found[1])
		}
		for answer := range strings.Lines(normal(string(printed), addr, worker.URL)) {
			if answer = strings.TrimRight(answer, " \n"); answer != "" {
				out = append(out, "  "+answer)
			}
		}
		if err != nil {
			out = append(out, fmt.Sprintf("  (%v)", err))
		}
	}
	got := strings.Join(out, "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

var (
	scheduled = regexp.MustCompile(`scheduleTime: '([^']*)'`)
	varying   = []struct {
		pattern *regexp.Regexp
		name    string
	}{
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?`), "TIME"},
		{regexp.MustCompile(`\b\d{15,20}\b`), "ID"},
		{regexp.MustCompile(`etag: \S+`), "etag: ETAG"},
	}
)

// normal replaces what differs between runs.
func normal(text, addr, worker string) string {
	text = strings.NewReplacer("http://"+addr, "EMULATOR", worker, "WORKER").Replace(text)
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.name)
	}
	return text
}

// words splits a command at spaces outside single quotes.
func words(command string) []string {
	var all []string
	quoted, within := false, false
	for _, c := range command {
		switch {
		case c == '\'':
			quoted = !quoted
			if !within {
				all, within = append(all, ""), true
			}
		case c == ' ' && !quoted:
			within = false
		default:
			if !within {
				all, within = append(all, ""), true
			}
			all[len(all)-1] += string(c)
		}
	}
	return all
}

// listen serves on a real port until the end of the test.
func listen(t testing.TB, o *cloudtasks.Options) (addr string) {
	t.Helper()
	s, err := cloudtasks.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}
