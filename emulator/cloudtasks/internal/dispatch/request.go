package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// What the service calls itself.
const (
	HTTPUserAgent      = "Google-Cloud-Tasks"
	AppEngineUserAgent = "AppEngine-Google; (+http://code.google.com/appengine)"

	defaultScope = "https://www.googleapis.com/auth/cloud-platform"
)

// httpRequest builds the request to an HTTP target, as the task wants it and the
// queue overrides it.
func (d *Dispatcher) httpRequest(ctx context.Context, a *engine.Delivery, t *cloudtaskspb.HttpRequest) (*http.Request, error) {
	q, err := d.specs.queue(a)
	if err != nil {
		return nil, err
	}
	over := q.GetHttpTarget()
	target, text, err := targetURL(t.GetUrl(), over.GetUriOverride())
	if err != nil {
		return nil, err
	}
	method, body := methodName(t.GetHttpMethod()), t.GetBody()
	if m := over.GetHttpMethod(); m != cloudtaskspb.HttpMethod_HTTP_METHOD_UNSPECIFIED {
		method = methodName(m)
		if !hasBody(m) {
			body = nil
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://host/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.URL, r.Host = target, target.Host
	copyHeaders(r.Header, t.GetHeaders())
	for _, h := range over.GetHeaderOverrides() {
		if name := h.GetHeader().GetKey(); !Reserved(name) {
			dropHeader(r.Header, name)
			r.Header[name] = []string{h.GetHeader().GetValue()}
		}
	}
	r.Header["User-Agent"] = []string{HTTPUserAgent}
	authorization, err := d.authorization(t, over, text)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errInternal, err)
	}
	if authorization != "" {
		dropHeader(r.Header, "Authorization")
		r.Header["Authorization"] = []string{authorization}
	}
	attemptHeaders(r.Header, "X-CloudTasks-", a)
	if p := a.Previous; p != nil {
		r.Header["X-CloudTasks-TaskPreviousResponse"] = []string{strconv.Itoa(p.Status)}
		r.Header["X-CloudTasks-TaskRetryReason"] = []string{""}
	}
	return r, nil
}

// A caller is who asks for a token: a task or, in its place, its queue.
type caller interface {
	GetOidcToken() *cloudtaskspb.OidcToken
	GetOauthToken() *cloudtaskspb.OAuthToken
}

// authorization is the header that comes with a token, of the queue if it has
// one; "" is none.
func (d *Dispatcher) authorization(t *cloudtaskspb.HttpRequest, over *cloudtaskspb.HttpTarget, url string) (string, error) {
	var c caller = t
	if over.GetAuthorizationHeader() != nil {
		c = over
	}
	switch {
	case c.GetOidcToken() != nil:
		token, err := d.Tokens.OIDC(c.GetOidcToken().GetServiceAccountEmail(), cmp.Or(c.GetOidcToken().GetAudience(), url))
		return "Bearer " + token, err
	case c.GetOauthToken() != nil:
		scope := cmp.Or(c.GetOauthToken().GetScope(), defaultScope)
		return "Bearer " + d.Tokens.OAuth(c.GetOauthToken().GetServiceAccountEmail(), scope), nil
	}
	return "", nil
}

// appEngineRequest builds the request to an App Engine service: to the address
// that stands in for it, with the host name it has in the cloud.
func (d *Dispatcher) appEngineRequest(ctx context.Context, a *engine.Delivery, t *cloudtaskspb.AppEngineHttpRequest) (*http.Request, error) {
	q, err := d.specs.queue(a)
	if err != nil {
		return nil, err
	}
	routing := t.GetAppEngineRouting()
	if q.GetAppEngineRoutingOverride() != nil {
		routing = q.GetAppEngineRoutingOverride()
	}
	address, service, ok := d.address(routing, t.GetRelativeUri())
	if !ok {
		return nil, fmt.Errorf("no address is configured for the App Engine service %q (Options.AppEngine, --app-engine)", service)
	}
	r, err := http.NewRequestWithContext(ctx, methodName(t.GetHttpMethod()), "http://"+address+t.GetRelativeUri(), bytes.NewReader(t.GetBody()))
	if err != nil {
		return nil, err
	}
	r.Host = routing.GetHost()
	copyHeaders(r.Header, t.GetHeaders())
	for name, value := range t.GetHeaders() {
		if strings.EqualFold(name, "User-Agent") {
			r.Header["User-Agent"] = []string{value}
		}
	}
	attemptHeaders(r.Header, "X-AppEngine-", a)
	if p := a.Previous; p != nil {
		status, reason := 0, "Instance Unavailable"
		if p.Responded {
			status, reason = p.Status, "App Error"
		}
		r.Header["X-AppEngine-TaskPreviousResponse"] = []string{strconv.Itoa(status)}
		r.Header["X-AppEngine-TaskRetryReason"] = []string{reason}
	}
	return r, nil
}

// attemptHeaders sets the five that every attempt has. Map writes keep the
// service's own spelling, which Header.Set would change.
func attemptHeaders(h http.Header, prefix string, a *engine.Delivery) {
	h[prefix+"QueueName"] = []string{a.Queue[strings.LastIndexByte(a.Queue, '/')+1:]}
	h[prefix+"TaskName"] = []string{a.ID}
	h[prefix+"TaskRetryCount"] = []string{strconv.Itoa(a.Attempt - 1)}
	h[prefix+"TaskExecutionCount"] = []string{strconv.Itoa(a.Executions)}
	h[prefix+"TaskETA"] = []string{fmt.Sprintf("%d.%06d", a.Due/1e6, a.Due%1e6)}
}

// reserved are the headers that a task can't set: those that the service
// computes, those of one connection only, and those that name the service.
var reserved = map[string]bool{
	"host": true, "content-length": true, "user-agent": true,
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true,
	"trailer": true, "transfer-encoding": true, "upgrade": true,
}

var reservedPrefixes = []string{"x-cloudtasks-", "x-appengine-", "x-google-"}

// Reserved reports whether a task's own header of this name is ignored.
func Reserved(name string) bool {
	lower := strings.ToLower(name)
	if reserved[lower] {
		return true
	}
	for _, prefix := range reservedPrefixes {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	return false
}

// copyHeaders keeps the spelling of the task's headers.
func copyHeaders(h http.Header, task map[string]string) {
	for name, value := range task {
		if !Reserved(name) {
			h[name] = []string{value}
		}
	}
}

// dropHeader removes a header in every spelling.
func dropHeader(h http.Header, name string) {
	for other := range h {
		if strings.EqualFold(other, name) {
			delete(h, other)
		}
	}
}

// hasBody reports whether tasks with this method have a body.
func hasBody(m cloudtaskspb.HttpMethod) bool {
	return m == cloudtaskspb.HttpMethod_POST || m == cloudtaskspb.HttpMethod_PUT || m == cloudtaskspb.HttpMethod_PATCH
}

func methodName(m cloudtaskspb.HttpMethod) string {
	if m == cloudtaskspb.HttpMethod_HTTP_METHOD_UNSPECIFIED {
		return http.MethodPost
	}
	return m.String()
}
