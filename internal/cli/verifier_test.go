package cli

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchwork/latchwork/handlers"
)

// Who is let in, by mode and platform: nothing is inferred, and App Engine's
// headers count on App Engine alone.
func TestVerifier(t *testing.T) {
	tests := []struct {
		name, target, mode string
		host               string // of a Cloud Tasks emulator
		env                map[string]string
		err                string // of the construction
		cron, queue        bool   // App Engine's cron and queue headers are accepted
	}{
		{name: "tokens on Cloud Run", target: "http", mode: authOIDC, env: map[string]string{"K_SERVICE": "w"}},
		{name: "tokens of an emulator", target: "http", mode: authOIDC, host: "127.0.0.1:1", cron: true},
		{name: "tokens on App Engine", target: "http", mode: authOIDC, env: map[string]string{"GAE_ENV": "standard"}, cron: true, queue: true},
		{name: "headers on App Engine", target: "appengine", mode: authAppEngine, env: map[string]string{"GAE_ENV": "standard"}, cron: true, queue: true},
		{name: "headers elsewhere", target: "appengine", mode: authAppEngine, err: "GAE_ENV=standard"},
		{name: "headers for HTTP tasks", target: "http", mode: authAppEngine, env: map[string]string{"GAE_ENV": "standard"}, err: "does not fit TASKS_TARGET=http"},
		{name: "tokens for App Engine tasks", target: "appengine", mode: authOIDC, env: map[string]string{"GAE_ENV": "standard"}, err: "does not fit TASKS_TARGET=appengine"},
		{name: "Cloud Run's check", target: "http", mode: authCloudRunIAM, env: map[string]string{"K_SERVICE": "w"}},
		{name: "Cloud Run's check elsewhere", target: "http", mode: authCloudRunIAM, err: "K_SERVICE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := services{Target: tt.target, CloudTasksHost: tt.host, WorkerURL: "https://w.example.com", ServiceAccount: "w@p.iam.gserviceaccount.com"}
			v, err := s.verifier(tt.mode, func(name string) string { return tt.env[name] }, nil)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one that says %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for header, want := range map[string]bool{"X-Appengine-Cron: true": tt.cron, "X-Appengine-Queuename: default": tt.queue, "X-Cloudtasks-Queuename: default": false} {
				r := httptest.NewRequest("GET", handlers.SweepPath, nil)
				name, value, _ := strings.Cut(header, ": ")
				r.Header.Set(name, value)
				if _, err := v.Verify(r); (err == nil) != want {
					t.Errorf("%s: %v, want it to be accepted: %t", header, err, want)
				}
			}
			r := httptest.NewRequest("POST", handlers.TasksPath+"class", nil)
			r.Header.Set("X-Appengine-Cron", "true")
			if _, err := v.Verify(r); err == nil && tt.host != "" {
				t.Error("the emulator's cron can push a task")
			}
		})
	}
}
