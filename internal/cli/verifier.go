package cli

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/internal/doctor"
	"github.com/latchwork/latchwork/tasks"
)

// The values of --auth.
const (
	authOIDC        = doctor.AuthOIDC
	authCloudRunIAM = doctor.AuthCloudRunIAM
	authAppEngine   = doctor.AuthAppEngine
)

// verifier makes what decides who may push. Nothing is inferred: the mode that
// was asked for fits the way tasks are sent, or it is an error.
func (s *services) verifier(mode string, getenv func(string) string, hs []tasks.Handler) (handlers.Verifier, error) {
	if (s.Target == "appengine") != (mode == authAppEngine) {
		return nil, fmt.Errorf("--auth=%s does not fit TASKS_TARGET=%s: App Engine tasks carry App Engine's headers and no token, HTTP tasks carry a token. Set LATCHWORK_AUTH=app-engine for the former, oidc or cloud-run-iam for the latter", mode, s.Target)
	}
	audiences, emails := []string{s.audience()}, []string{s.ServiceAccount}
	switch mode {
	case authAppEngine:
		return auth.NewAppEngine(&auth.AppEngineOptions{Queues: queuesOf(hs), Getenv: getenv})
	case authCloudRunIAM:
		return auth.NewCloudRunIAM(&auth.CloudRunIAMOptions{Audiences: audiences, Emails: emails, Getenv: getenv})
	default:
		o := &auth.OIDCOptions{Audiences: audiences, Emails: emails, Getenv: getenv}
		if s.CloudTasksHost == "" {
			return withCron(o, getenv, hs)
		}
		o.JWKSURL = "http://" + s.CloudTasksHost + "/oauth2/v3/certs"
		tokens, err := auth.NewOIDC(o)
		if err != nil {
			return nil, fmt.Errorf("CLOUD_TASKS_EMULATOR_HOST=%s: %w. Unset it, and DATASTORE_EMULATOR_HOST, where the worker is deployed", s.CloudTasksHost, err)
		}
		return auth.Any(tokens, emulatedCron{}), nil
	}
}

// emulatedCron lets the emulator's cron start the sweeper, which it does as App
// Engine does: by a header, and without a token. Whoever else on this machine
// sends it can start a sweep, and nothing else.
type emulatedCron struct{}

// Verify implements handlers.Verifier.
func (emulatedCron) Verify(r *http.Request) (handlers.Caller, error) {
	if r.URL.Path != handlers.SweepPath || r.Header.Get("X-Appengine-Cron") != "true" {
		return handlers.Caller{}, errors.New("not a request of the emulator's cron")
	}
	return handlers.Caller{Mode: "emulated-cron"}, nil
}

// withCron is the full check of tokens, and, on App Engine, also the header of its
// cron, which is how the sweeper is called there.
func withCron(o *auth.OIDCOptions, getenv func(string) string, hs []tasks.Handler) (handlers.Verifier, error) {
	tokens, err := auth.NewOIDC(o)
	if err != nil || getenv("GAE_ENV") != "standard" {
		return tokens, err
	}
	headers, err := auth.NewAppEngine(&auth.AppEngineOptions{Queues: queuesOf(hs), Getenv: getenv})
	if err != nil {
		return nil, err
	}
	return auth.Any(tokens, headers), nil
}

// queuesOf lists the queues whose tasks may come: those of the classes, and the
// sweeper's.
func queuesOf(hs []tasks.Handler) []string {
	queues := []string{"default"}
	for _, h := range hs {
		queues = append(queues, h.Spec().Queue)
	}
	return queues
}
