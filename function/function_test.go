package function

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/internal/cli"
)

// A worker that can't be opened answers with the reason, and logs it once; the
// request after the repair is served.
func TestReasonIsTold(t *testing.T) {
	reason, opened := errors.New("no such project"), 0
	var log bytes.Buffer
	e := newEntry(func(context.Context) (http.Handler, error) {
		opened++
		if reason != nil {
			return nil, reason
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }), nil
	}, slog.New(slog.NewTextHandler(&log, nil)))
	get := func() (int, string) {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_latchwork/tasks/x", nil))
		return w.Code, w.Body.String()
	}

	for range 3 {
		if code, text := get(); code != http.StatusInternalServerError || text != "latchwork: no such project\n" {
			t.Errorf("answered %d %q", code, text)
		}
	}
	if n := strings.Count(log.String(), "no such project"); n != 1 {
		t.Errorf("the reason was logged %d times, want once:\n%s", n, &log)
	}
	reason = errors.New("another one")
	get()
	if !strings.Contains(log.String(), "another one") {
		t.Errorf("a new reason was not logged:\n%s", &log)
	}

	reason, opened = nil, 0
	for range 3 {
		if code, text := get(); code != http.StatusOK || text != "/_latchwork/tasks/x" {
			t.Errorf("after the repair: %d %q", code, text)
		}
	}
	if opened != 1 {
		t.Errorf("the worker was opened %d times, want once", opened)
	}
}

// The worker outlives the request that opened it.
func TestOpenedForLong(t *testing.T) {
	var opening context.Context
	e := newEntry(func(ctx context.Context) (http.Handler, error) {
		opening = ctx
		return http.NotFoundHandler(), nil
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	cancel()
	if err := opening.Err(); err != nil {
		t.Errorf("the context that the worker was opened with ended with the request: %v", err)
	}
}

// What is wrong with the environment is what `serve` would say, all at once: on
// Google's runtimes nothing falls back to emulators.
func TestEnvironment(t *testing.T) {
	complete := map[string]string{
		"FUNCTION_TARGET": Name, "K_SERVICE": "latchwork",
		"GOOGLE_CLOUD_PROJECT": "p", "CLOUD_TASKS_LOCATION": "europe-west1", "MEMCACHE_ADDRS": "127.0.0.1:1",
		"WORKER_URL": "https://latchwork.example", "TASKS_SERVICE_ACCOUNT": "tasks@p.iam.gserviceaccount.com",
	}
	for _, bad := range []struct{ name, value, want string }{
		{"GOOGLE_CLOUD_PROJECT", "", "GOOGLE_CLOUD_PROJECT: the project of queues and entities"},
		{"WORKER_URL", "", "WORKER_URL: where Cloud Tasks reaches this worker"},
		{"WORKER_URL", "https://h/path", `WORKER_URL="https://h/path" must name the host alone`},
		{"CLOUD_RUN_TIMEOUT_SECONDS", "soon", `CLOUD_RUN_TIMEOUT_SECONDS="soon" must be a number of seconds from 1 to 86400`},
		{"LATCHWORK_AUTH", "none", `must be one of "oidc","cloud-run-iam","app-engine" but got "none"`},
		{"DATASTORE_EMULATOR_HOST", "127.0.0.1:1", "CLOUD_TASKS_EMULATOR_HOST and DATASTORE_EMULATOR_HOST"},
	} {
		t.Run(bad.name+"="+bad.value, func(t *testing.T) {
			worker, err := cli.NewWorker(t.Context(), cli.Env{
				Getenv: func(name string) string {
					if name == bad.name {
						return bad.value
					}
					return complete[name]
				},
				Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
			})
			if err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("got %v, %v; want an error that says %q", worker, err, bad.want)
			}
		})
	}
}
