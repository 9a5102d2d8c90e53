package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/latchwork/latchwork/tasks"
)

// environment: is everything set that a worker needs?
func (s *session) environment(context.Context) Finding {
	l := look("the variables and flags of the worker, and the credentials")
	if s.Broken != nil {
		return l.fail("latchwork doctor --help  # says what each variable means\ngcloud auth application-default login  # where it is credentials that are missing", "%v", s.Broken)
	}
	where := "Google Cloud"
	if s.emulated() {
		where = "emulators"
	}
	return l.ok("%s, project %s, location %s, tasks pushed by %s", where, s.Project, s.Location, s.Target)
}

// auth: does the way of verifying pushes fit the way of sending them?
func (s *session) auth(context.Context) Finding {
	l := look(fmt.Sprintf("LATCHWORK_AUTH=%s, TASKS_TARGET=%s", s.Auth, s.Target))
	switch appEngine := s.Target == tasks.TargetAppEngine; {
	case appEngine && s.Auth != AuthAppEngine:
		return l.fail("export LATCHWORK_AUTH=app-engine", "App Engine's tasks carry no token, and %s demands one: every push would be refused", s.Auth)
	case !appEngine && s.Auth == AuthAppEngine:
		return l.fail("export LATCHWORK_AUTH=oidc", "tasks for HTTP targets carry a token, and app-engine looks at App Engine's headers: every push would be refused")
	case s.Auth == AuthCloudRunIAM && s.emulated():
		return l.fail("export LATCHWORK_AUTH=oidc", "cloud-run-iam leaves the signature of tokens to Cloud Run, which isn't there with emulators")
	case s.Auth == AuthCloudRunIAM && s.CloudRunService == "":
		return l.warn("latchwork doctor --cloud-run-service=NAME", "cloud-run-iam leaves the signature of tokens to Cloud Run, and which service it is isn't known: nobody looked whether it is public")
	}
	return l.ok("pushes are verified by %s", s.Auth)
}

// audience: will the tokens that the queue makes be the ones that the worker wants?
func (s *session) audience(context.Context) Finding {
	if s.Target == tasks.TargetAppEngine {
		return look("TASKS_TARGET").skip("App Engine's tasks carry no token")
	}
	l := look(fmt.Sprintf("WORKER_URL=%s, TASKS_AUDIENCE=%s", s.WorkerURL, s.Audience))
	worker, err := url.Parse(s.WorkerURL)
	if err != nil || worker.Host == "" {
		return l.fail("export WORKER_URL=https://HOST", "WORKER_URL=%q names no host", s.WorkerURL)
	}
	if !s.emulated() && isLocal(worker.Hostname()) {
		return l.fail("export WORKER_URL=https://HOST", "Cloud Tasks can't reach %s, which is this machine", worker.Host)
	}
	if !s.emulated() && worker.Scheme != "https" {
		return l.fail("export WORKER_URL="+quote("https://"+worker.Host), "over http the tokens travel in the clear, and a redirect to https counts as a failed delivery")
	}
	remedy := "unset TASKS_AUDIENCE  # the worker's URL is the default, for the worker and for whoever enqueues"
	audience, err := url.Parse(s.Audience)
	switch {
	case err != nil, s.Audience == "", strings.TrimSpace(s.Audience) != s.Audience:
		return l.fail(remedy, "TASKS_AUDIENCE=%q is no audience that a token is made out to", s.Audience)
	case audience.RawQuery != "" || audience.Fragment != "":
		return l.warn(remedy, "the audience has a query or a fragment: whoever checks it compares it byte by byte, and both are easily lost")
	case strings.Trim(audience.Path, "/") != "" && audience.Host != "":
		return l.warn(remedy, "the audience has a path: tokens are for the worker as a whole, and Cloud Run accepts its own URL only")
	case s.Auth == AuthCloudRunIAM && strings.TrimSuffix(s.Audience, "/") != s.WorkerURL:
		return l.warn(fmt.Sprintf("gcloud run services update %s --project=%s --region=%s --add-custom-audiences=%s",
			quoteOr(s.CloudRunService, "NAME"), quote(s.Project), quoteOr(s.CloudRunRegion, "REGION"), quote(s.Audience)),
			"Cloud Run accepts tokens for its own URL, and for others only when they are added to the service")
	}
	return l.ok("tokens are made out to %s", s.Audience)
}

func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (ip.IsLoopback() || ip.IsUnspecified())
}
