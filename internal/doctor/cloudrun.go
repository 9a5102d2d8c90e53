package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/latchwork/latchwork/tasks"
)

// worker: does it answer, and refuse who doesn't prove to be the queue?
func (s *session) worker(ctx context.Context) Finding {
	if s.WorkerURL == "" {
		return look("WORKER_URL").skip("where the worker is isn't known: WORKER_URL is not set")
	}
	address := s.WorkerURL + tasks.PushPath + "latchwork-doctor"
	l := look("POST " + address + " without a token")
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		return l.fail("export WORKER_URL=https://HOST", "%v", err)
	}
	client := *s.Web
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the queue follows none either
	curl := "curl -i -X POST " + quote(address)
	response, err := client.Do(r)
	if err != nil {
		remedy := curl
		if s.emulated() {
			remedy = "latchwork serve"
		}
		return l.warn(remedy, "no answer, from here: %s", s.words(err))
	}
	response.Body.Close()
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return l.ok("it answers, and refuses who shows no token (%d)", status)
	case status < 300:
		return l.fail(curl, "it answers %d: it accepts tasks from anybody, or isn't the worker", status)
	case status < 400:
		return l.fail("export WORKER_URL="+quote(location(response)), "it redirects (%d), which the queue counts as a failed delivery", status)
	case status >= 500:
		return l.warn(curl, "it answers %d: is it starting, or broken?", status)
	default:
		return l.warn(curl, "it answers %d where the worker says 403: is the worker there, and does it let requests from outside in?", status)
	}
}

// location is where a redirect leads, without the path, which isn't WORKER_URL's.
func location(r *http.Response) string {
	u, err := r.Location()
	if err != nil {
		return "https://HOST"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}

// invoker: does Cloud Run let in whom the way of verifying expects?
func (s *session) invoker(ctx context.Context) Finding {
	l := look("who may invoke the Cloud Run service " + s.CloudRunService)
	switch {
	case s.Target == tasks.TargetAppEngine:
		return l.skip("App Engine's own front end tells its tasks from other requests")
	case s.emulated():
		return l.skip("an emulator has no invoker policy: whether Cloud Run lets the queue in, and nobody else, only the cloud can tell")
	case s.CloudRunService == "":
		return l.skip("which Cloud Run service is the worker isn't known: --cloud-run-service=NAME says so")
	case s.Google == nil:
		return l.skip("there are no credentials for Google's APIs")
	}
	service := fmt.Sprintf("%s/v2/projects/%s/locations/%s/services/%s", s.APIs.cloudRun(), url.PathEscape(s.Project), url.PathEscape(s.CloudRunRegion), url.PathEscape(s.CloudRunService))
	at := fmt.Sprintf("%s --project=%s --region=%s", quote(s.CloudRunService), quote(s.Project), quoteOr(s.CloudRunRegion, "REGION"))
	var settings struct{ InvokerIamDisabled bool }
	err := s.ask(ctx, http.MethodGet, service, nil, &settings)
	if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound {
		return l.fail("gcloud run services list --project="+quote(s.Project)+"  # for --cloud-run-service and --cloud-run-region", "there is no such service in %s", s.CloudRunRegion)
	}
	var policy invokers
	if err == nil {
		err = s.ask(ctx, http.MethodGet, service+":getIamPolicy", nil, &policy)
	}
	if err != nil {
		return s.untold(l, err, s.APIs.cloudRun(), whoRuns+"gcloud run services add-iam-policy-binding "+at+" --member=\"$MEMBER\" --role=roles/run.viewer")
	}
	return s.judgeInvokers(l, at, settings.InvokerIamDisabled, policy)
}

// judgeInvokers compares who is let in with who should be.
func (s *session) judgeInvokers(l look, at string, unchecked bool, policy invokers) Finding {
	account := "serviceAccount:" + s.ServiceAccount
	public := unchecked || policy.has("allUsers")
	const role = " --role=roles/run.invoker"
	if s.Auth != AuthCloudRunIAM {
		if !public {
			return l.fail("gcloud run services add-iam-policy-binding "+at+" --member=allUsers"+role,
				"the service isn't public, so that Cloud Run checks the tokens and may take their signatures away, which LATCHWORK_AUTH=%s demands (LATCHWORK_AUTH=cloud-run-iam is for services that aren't public)", s.Auth)
		}
		return l.ok("everybody may invoke it, and the worker checks the tokens in full")
	}
	switch {
	case unchecked:
		return l.fail("gcloud run services update "+at+" --invoker-iam-check", "Cloud Run checks nobody, and LATCHWORK_AUTH=cloud-run-iam leaves the check to it: anybody can push tasks")
	case public || policy.has("allAuthenticatedUsers"):
		who := "allUsers"
		if !public {
			who = "allAuthenticatedUsers"
		}
		return l.fail("gcloud run services remove-iam-policy-binding "+at+" --member="+who+role, "%s may invoke it, and LATCHWORK_AUTH=cloud-run-iam leaves the check of signatures to Cloud Run: anybody can push tasks", who)
	case !policy.has(account):
		return l.fail("gcloud run services add-iam-policy-binding "+at+" --member="+quote(account)+role, "%s may not invoke it (by a role of the service itself; one of the project would do, and isn't looked at)", account)
	}
	return l.ok("%s may invoke it, and not everybody", account)
}

// invokers is the policy of a service, as far as it is about invoking.
type invokers struct {
	Bindings []struct {
		Role      string
		Members   []string
		Condition *struct{ Expression string }
	}
}

// has tells whether the role of invokers is a member's, without a condition.
func (p invokers) has(member string) bool {
	for _, b := range p.Bindings {
		if b.Role == "roles/run.invoker" && b.Condition == nil && slices.Contains(b.Members, member) {
			return true
		}
	}
	return false
}
