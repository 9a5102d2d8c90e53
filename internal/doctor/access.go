package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchwork/latchwork/tasks"
)

// roles: may tasks be created in the queues of the classes?
func (s *session) roles(ctx context.Context) Finding {
	l := look("these credentials' permissions on the queues: " + strings.Join(s.Queues, ", "))
	if s.emulated() {
		return l.skip("an emulator permits everything: it can't tell who may do what in the cloud")
	}
	list, err := s.listed()
	if err != nil && !mayNotList(err) {
		return s.unlisted(l, err)
	}
	listed := err == nil
	var lacking, remedies []string
	for _, name := range s.Queues {
		if listed && list.byID[name] == nil {
			continue // the check "queues" says so
		}
		missing, err := s.lacking(ctx, s.parent()+"/queues/"+name, []string{"cloudtasks.tasks.create"})
		if err != nil {
			return l.fail(fmt.Sprintf("gcloud tasks queues get-iam-policy %s %s", quote(name), s.at()), "%s", s.words(err))
		}
		if len(missing) > 0 {
			lacking = append(lacking, name)
			remedies = append(remedies, fmt.Sprintf("gcloud tasks queues add-iam-policy-binding %s %s --member=\"$MEMBER\" --role=roles/cloudtasks.enqueuer", quote(name), s.at()))
		}
	}
	if len(lacking) > 0 {
		return l.fail(whoRuns+strings.Join(remedies, "\n"), "they lack cloudtasks.tasks.create on: %s", strings.Join(lacking, ", "))
	}
	return l.ok("they may create tasks")
}

// actAs: may tasks be created that carry tokens of the service account?
func (s *session) actAs(ctx context.Context) Finding {
	const permission = "iam.serviceAccounts.actAs"
	l := look("these credentials' permissions on the service account " + s.ServiceAccount)
	switch {
	case s.Target == tasks.TargetAppEngine:
		return l.skip("App Engine's tasks carry no token")
	case s.emulated():
		return l.skip("an emulator permits everything: it can't tell whether tasks may carry tokens of this account in the cloud")
	case s.Google == nil:
		return l.skip("there are no credentials for Google's APIs")
	}
	var granted struct{ Permissions []string }
	err := s.ask(ctx, http.MethodPost, s.APIs.iam()+"/v1/projects/-/serviceAccounts/"+url.PathEscape(s.ServiceAccount)+":testIamPermissions",
		map[string][]string{"permissions": {permission}}, &granted)
	if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound {
		name, _, _ := strings.Cut(s.ServiceAccount, "@")
		return l.fail(fmt.Sprintf("gcloud iam service-accounts create %s --project=%s", quote(name), quote(s.Project)), "there is no such account: Cloud Tasks can make no tokens of it")
	}
	if err != nil {
		return s.untold(l, err, s.APIs.iam(), "gcloud services enable iam.googleapis.com --project="+quote(s.Project))
	}
	if !slices.Contains(granted.Permissions, permission) {
		return l.fail(whoRuns+fmt.Sprintf("gcloud iam service-accounts add-iam-policy-binding %s --member=\"$MEMBER\" --role=roles/iam.serviceAccountUser", quote(s.ServiceAccount)),
			"they lack %s: the queue refuses tasks that carry its tokens", permission)
	}
	return l.ok("tasks may carry its tokens")
}
