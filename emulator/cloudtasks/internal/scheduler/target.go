package scheduler

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
)

// What the service calls itself.
const (
	httpUserAgent = "Google-Cloud-Scheduler"
	defaultScope  = "https://www.googleapis.com/auth/cloud-platform"
	octets        = "application/octet-stream"
)

// Deadlines of attempts where the job has none.
const (
	defaultHTTPDeadline      = 3 * time.Minute
	defaultAppEngineDeadline = 10 * time.Minute
	pubSubDeadline           = time.Minute
)

// A result is what an attempt came to.
type result struct {
	status    *spb.Status // of the target's answer; the zero status is success
	uncounted bool        // App Engine itself was in trouble
}

func (r result) ok() bool { return r.status.GetCode() == 0 }

func failed(code codes.Code, err error) result {
	return result{status: &spb.Status{Code: int32(code), Message: dispatch.Excerpt(strings.ToValidUTF8(err.Error(), "�"))}}
}

// deliver makes one attempt for a planned time.
func (s *Scheduler) deliver(ctx context.Context, j *schedulerpb.Job, planned time.Time) result {
	began := time.Now()
	deadline := j.GetAttemptDeadline().AsDuration()
	switch {
	case j.GetPubsubTarget() != nil:
		deadline = pubSubDeadline
	case deadline <= 0 && j.GetAppEngineHttpTarget() != nil:
		deadline = defaultAppEngineDeadline
	case deadline <= 0:
		deadline = defaultHTTPDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	request, err := s.request(ctx, j)
	var r result
	if err != nil {
		r = failed(codes.FailedPrecondition, err)
	} else {
		set(request.Header, "X-CloudScheduler", "true")
		set(request.Header, "X-CloudScheduler-JobName", j.GetName()[strings.LastIndexByte(j.GetName(), '/')+1:])
		set(request.Header, "X-CloudScheduler-ScheduleTime", planned.Format(time.RFC3339))
		r = s.send(ctx, request, deadline, j.GetAppEngineHttpTarget() != nil)
	}
	s.report(ctx, j, r, time.Since(began))
	return r
}

func (s *Scheduler) send(ctx context.Context, request *http.Request, deadline time.Duration, appEngine bool) result {
	response, err := s.o.Transport.RoundTrip(request)
	if err == nil {
		err = dispatch.Drain(response.Body)
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failed(codes.DeadlineExceeded, fmt.Errorf("no answer within %v", deadline))
	case err != nil:
		return failed(codes.Unavailable, err)
	case response.StatusCode >= 200 && response.StatusCode <= 299:
		return result{status: new(spb.Status)}
	}
	r := failed(dispatch.Code(response.StatusCode), fmt.Errorf("HTTP status code %d", response.StatusCode))
	r.uncounted = appEngine && response.StatusCode == http.StatusServiceUnavailable
	return r
}

// report writes a line: at DEBUG for success, and for a failure that is what the
// last attempt had as well; at WARN for any other.
func (s *Scheduler) report(ctx context.Context, j *schedulerpb.Job, r result, took time.Duration) {
	if s.ctx.Err() != nil {
		return // cut short by Close
	}
	attrs := []slog.Attr{slog.String("job", j.GetName()), slog.Duration("took", took)}
	level, text := slog.LevelDebug, "a job succeeded"
	if !r.ok() {
		text = "an attempt of a job failed"
		attrs = append(attrs, slog.String("reason", r.status.GetMessage()))
		if !proto.Equal(j.GetStatus(), r.status) {
			level, text = slog.LevelWarn, "an attempt of a job failed; the same failure is logged at DEBUG from now on"
		}
	}
	s.o.Log.LogAttrs(context.WithoutCancel(ctx), level, text, attrs...)
}

// request builds the request of an attempt, but for the headers that all kinds
// have.
func (s *Scheduler) request(ctx context.Context, j *schedulerpb.Job) (*http.Request, error) {
	switch {
	case j.GetHttpTarget() != nil:
		return s.httpRequest(ctx, j.GetHttpTarget())
	case j.GetAppEngineHttpTarget() != nil:
		return s.appEngineRequest(ctx, j.GetAppEngineHttpTarget())
	}
	return s.pubSubRequest(ctx, j.GetPubsubTarget())
}

func (s *Scheduler) httpRequest(ctx context.Context, t *schedulerpb.HttpTarget) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, t.GetHttpMethod().String(), t.GetUri(), bytes.NewReader(t.GetBody()))
	if err != nil {
		return nil, err
	}
	copyHeaders(r.Header, t.GetHeaders())
	set(r.Header, "User-Agent", httpUserAgent)
	switch {
	case t.GetOidcToken() != nil:
		token, err := s.o.Tokens.OIDC(t.GetOidcToken().GetServiceAccountEmail(), cmp.Or(t.GetOidcToken().GetAudience(), t.GetUri()))
		if err != nil {
			return nil, err
		}
		set(r.Header, "Authorization", "Bearer "+token)
	case t.GetOauthToken() != nil:
		token := s.o.Tokens.OAuth(t.GetOauthToken().GetServiceAccountEmail(), cmp.Or(t.GetOauthToken().GetScope(), defaultScope))
		set(r.Header, "Authorization", "Bearer "+token)
	}
	return r, nil
}

func (s *Scheduler) appEngineRequest(ctx context.Context, t *schedulerpb.AppEngineHttpTarget) (*http.Request, error) {
	routing := t.GetAppEngineRouting()
	path, _, _ := strings.Cut(t.GetRelativeUri(), "?")
	address, ok := "", false
	if s.o.AppEngine != nil {
		address, ok = s.o.AppEngine(routing, path)
	}
	if !ok {
		return nil, fmt.Errorf("no address is configured for the App Engine service %q (Options.AppEngine, --app-engine)", cmp.Or(routing.GetService(), "default"))
	}
	r, err := http.NewRequestWithContext(ctx, t.GetHttpMethod().String(), "http://"+address+t.GetRelativeUri(), bytes.NewReader(t.GetBody()))
	if err != nil {
		return nil, err
	}
	r.Host = routing.GetHost()
	copyHeaders(r.Header, t.GetHeaders())
	for name, value := range t.GetHeaders() {
		if strings.EqualFold(name, "User-Agent") {
			set(r.Header, "User-Agent", value)
		}
	}
	set(r.Header, "X-Appengine-Cron", "true")
	return r, nil
}

// pubSubRequest publishes by REST.
func (s *Scheduler) pubSubRequest(ctx context.Context, t *schedulerpb.PubsubTarget) (*http.Request, error) {
	if s.o.PubSub == "" {
		return nil, errors.New("there is no Pub/Sub here: PUBSUB_EMULATOR_HOST names no emulator")
	}
	type message struct {
		Data       []byte            `json:"data,omitempty"`
		Attributes map[string]string `json:"attributes,omitempty"`
	}
	body, err := json.Marshal(map[string][]message{"messages": {{t.GetData(), t.GetAttributes()}}})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.o.PubSub+"/v1/"+t.GetTopicName()+":publish", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	set(r.Header, "Content-Type", "application/json")
	set(r.Header, "User-Agent", httpUserAgent)
	return r, nil
}

// set writes a header in the service's own spelling, over every other one.
func set(h http.Header, name, value string) {
	for other := range h {
		if strings.EqualFold(other, name) {
			delete(h, other)
		}
	}
	h[name] = []string{value}
}

// copyHeaders keeps the spelling of the job's headers.
func copyHeaders(h http.Header, own map[string]string) {
	for name, value := range own {
		if !reserved(name) {
			h[name] = []string{value}
		}
	}
}

// reserved tells whether a job's own header of this name is ignored.
func reserved(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "x-cloudscheduler") ||
		dispatch.Reserved(name) && !strings.HasPrefix(lower, "x-cloudtasks-") // those name another service
}
