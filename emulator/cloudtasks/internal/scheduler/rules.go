package scheduler

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/schedule"
)

// Limits of jobs.
const (
	maxDescription = 500 // characters
	maxURL         = 2083
	maxHeaders     = 80 << 10
	maxSize        = 1 << 20
	maxRetries     = 5

	minDeadline          = 15 * time.Second
	maxHTTPDeadline      = 30 * time.Minute
	maxAppEngineDeadline = 24*time.Hour + 15*time.Second
)

// Defaults of retries.
const (
	defaultMinBackoff = 5 * time.Second
	defaultMaxBackoff = time.Hour
	defaultDoublings  = 5
)

// check refuses what the service refuses in a complete job.
func check(j *schedulerpb.Job) error {
	if utf8.RuneCountInString(j.GetDescription()) > maxDescription {
		return invalid("Job.description must not contain more than %d characters.", maxDescription)
	}
	if _, err := schedule.Parse(j.GetSchedule()); err != nil {
		return errSchedule("job.schedule", err)
	}
	if _, err := schedule.Zone(j.GetTimeZone()); err != nil {
		return errSchedule("job.time_zone", fmt.Errorf("time zone %q: %w", dispatch.Excerpt(j.GetTimeZone()), err))
	}
	if err := checkRetry(j.GetRetryConfig()); err != nil {
		return err
	}
	if err := checkTarget(j); err != nil {
		return err
	}
	if n := proto.Size(j); n > maxSize {
		return invalid("Job size too large: %d bytes, at most %d.", n, maxSize)
	}
	return nil
}

func checkRetry(c *schedulerpb.RetryConfig) error {
	if n := c.GetRetryCount(); n < 0 || n > maxRetries {
		return invalid("RetryConfig.retryCount must be between [0, %d], not %d.", maxRetries, n)
	}
	if c.GetMaxDoublings() < 0 {
		return invalid("RetryConfig.maxDoublings cannot be negative.")
	}
	for _, f := range []struct {
		name string
		d    *durationpb.Duration
	}{
		{"minBackoffDuration", c.GetMinBackoffDuration()}, {"maxBackoffDuration", c.GetMaxBackoffDuration()}, {"maxRetryDuration", c.GetMaxRetryDuration()},
	} {
		if f.d != nil && (f.d.CheckValid() != nil || f.d.AsDuration() < 0) {
			return invalid("RetryConfig.%s cannot be negative.", f.name)
		}
	}
	if c.GetMinBackoffDuration().AsDuration() > c.GetMaxBackoffDuration().AsDuration() {
		return invalid("RetryConfig.minBackoffDuration must be less than or equal to RetryConfig.maxBackoffDuration.")
	}
	return nil
}

func checkTarget(j *schedulerpb.Job) error {
	switch {
	case j.GetHttpTarget() != nil:
		if err := checkDeadline(j.GetAttemptDeadline(), maxHTTPDeadline, "30m"); err != nil {
			return err
		}
		return checkHTTP(j.GetHttpTarget())
	case j.GetAppEngineHttpTarget() != nil:
		if err := checkDeadline(j.GetAttemptDeadline(), maxAppEngineDeadline, "24h15s"); err != nil {
			return err
		}
		return checkAppEngine(j.GetAppEngineHttpTarget())
	case j.GetPubsubTarget() != nil:
		return checkPubSub(j)
	}
	return invalid("Job.target is required: httpTarget, appEngineHttpTarget or pubsubTarget.")
}

// checkDeadline lets 0 pass, which is the default.
func checkDeadline(d *durationpb.Duration, most time.Duration, text string) error {
	if d == nil || d.GetSeconds() == 0 && d.GetNanos() == 0 {
		return nil
	}
	if d.CheckValid() != nil || d.AsDuration() < minDeadline || d.AsDuration() > most {
		return invalid("Job.attemptDeadline must be between [15s, %s].", text)
	}
	return nil
}

func checkMethod(target string, m schedulerpb.HttpMethod, body []byte, with ...schedulerpb.HttpMethod) error {
	if _, known := schedulerpb.HttpMethod_name[int32(m)]; !known {
		return invalid("%s.httpMethod %d is not one of the API's.", target, int32(m))
	}
	if len(body) == 0 {
		return nil
	}
	var names []string
	for _, allowed := range with {
		if m == allowed {
			return nil
		}
		names = append(names, allowed.String())
	}
	return invalid("%s.body is allowed with the methods %s only, not with %s.", target, strings.Join(names, ", "), m.String())
}

func checkHeaders(target string, headers map[string]string) error {
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		if !token(name) {
			return invalid("%s.headers: %q is not the name of a header.", target, name)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return invalid("%s.headers: the value of %q contains a character that headers can't have.", target, name)
		}
	}
	if size >= maxHeaders {
		return invalid("%s.headers: the total size must be less than 80KB, not %d bytes.", target, size)
	}
	return nil
}

// token reports whether s can be the name of a header.
func token(s string) bool {
	return made(s, maxHeaders, "!#$%&'*+-.^_`|~")
}

func checkHTTP(t *schedulerpb.HttpTarget) error {
	const target = "HttpTarget"
	switch uri := t.GetUri(); {
	case uri == "":
		return invalid("HttpTarget.uri is required.")
	case !strings.HasPrefix(uri, "http://") && !strings.HasPrefix(uri, "https://"):
		return invalid("HttpTarget.uri must start with 'http://' or 'https://'.")
	case len(uri) > maxURL:
		return invalid("HttpTarget.uri must have at most %d characters, not %d.", maxURL, len(uri))
	}
	if u, err := url.Parse(t.GetUri()); err != nil || u.Host == "" {
		return invalid("HttpTarget.uri %q is not a valid URL.", t.GetUri())
	}
	if err := checkMethod(target, t.GetHttpMethod(), t.GetBody(), schedulerpb.HttpMethod_POST, schedulerpb.HttpMethod_PUT, schedulerpb.HttpMethod_PATCH); err != nil {
		return err
	}
	if token := t.GetOidcToken(); token != nil && token.GetServiceAccountEmail() == "" {
		return invalid("OidcToken.serviceAccountEmail must be set.")
	}
	if token := t.GetOauthToken(); token != nil && token.GetServiceAccountEmail() == "" {
		return invalid("OAuthToken.serviceAccountEmail must be set.")
	}
	return checkHeaders(target, t.GetHeaders())
}

func checkAppEngine(t *schedulerpb.AppEngineHttpTarget) error {
	const target = "AppEngineHttpTarget"
	switch uri := t.GetRelativeUri(); {
	case !strings.HasPrefix(uri, "/"):
		return invalid("AppEngineHttpTarget.relativeUri must begin with '/'.")
	case len(uri) > maxURL:
		return invalid("AppEngineHttpTarget.relativeUri must have at most %d characters, not %d.", maxURL, len(uri))
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return invalid("AppEngineHttpTarget.relativeUri must not contain spaces.")
	}
	if _, err := url.Parse("http://host" + t.GetRelativeUri()); err != nil {
		return invalid("AppEngineHttpTarget.relativeUri %q is not a valid relative URL.", t.GetRelativeUri())
	}
	if m := t.GetHttpMethod(); m == schedulerpb.HttpMethod_PATCH || m == schedulerpb.HttpMethod_OPTIONS {
		return invalid("AppEngineHttpTarget.httpMethod: PATCH and OPTIONS are not permitted.")
	}
	if err := checkMethod(target, t.GetHttpMethod(), t.GetBody(), schedulerpb.HttpMethod_POST, schedulerpb.HttpMethod_PUT); err != nil {
		return err
	}
	r := t.GetAppEngineRouting()
	for _, part := range []string{r.GetService(), r.GetVersion(), r.GetInstance()} {
		if part != "" && !made(part, 100, "-_") {
			return invalid("AppEngineRouting %q can contain only letters, numbers, hyphens and underscores, at most 100.", part)
		}
	}
	return checkHeaders(target, t.GetHeaders())
}

func checkPubSub(j *schedulerpb.Job) error {
	t := j.GetPubsubTarget()
	project, topic, ok := strings.Cut(strings.TrimPrefix(t.GetTopicName(), "projects/"), "/topics/")
	if !ok || !strings.HasPrefix(t.GetTopicName(), "projects/") || !made(project, 100, "-:.") || !made(topic, 255, "-_.~+%") {
		return invalid(`PubsubTarget.topicName must be formatted: "projects/<PROJECT_ID>/topics/<TOPIC_ID>".`)
	}
	if own, _ := splitJob(j.GetName()); project != own {
		return invalid("PubsubTarget.topicName: the topic must be in the same project as the job, '%s', not in '%s'.", own, project)
	}
	if len(t.GetData()) == 0 && len(t.GetAttributes()) == 0 {
		return invalid("PubsubTarget must have either non-empty data, or at least one attribute.")
	}
	return nil
}

// complete fills in what the service picks. keepDoublings says that a
// max_doublings of 0 was asked for.
func complete(j *schedulerpb.Job, keepDoublings bool) {
	if j.TimeZone == "" {
		j.TimeZone = "UTC"
	}
	if j.RetryConfig == nil {
		j.RetryConfig = new(schedulerpb.RetryConfig)
	}
	r := j.RetryConfig
	if r.MinBackoffDuration == nil {
		r.MinBackoffDuration = durationpb.New(min(defaultMinBackoff, atMost(r.MaxBackoffDuration)))
	}
	if r.MaxBackoffDuration == nil {
		r.MaxBackoffDuration = durationpb.New(max(defaultMaxBackoff, r.MinBackoffDuration.AsDuration()))
	}
	if r.MaxRetryDuration == nil {
		r.MaxRetryDuration = new(durationpb.Duration)
	}
	if r.MaxDoublings == 0 && !keepDoublings {
		r.MaxDoublings = defaultDoublings
	}
	switch {
	case j.GetHttpTarget() != nil:
		t := j.GetHttpTarget()
		t.HttpMethod = method(t.HttpMethod)
		t.Headers = withDefault(t.Headers, "User-Agent", httpUserAgent, true)
		if len(t.Body) > 0 {
			t.Headers = withDefault(t.Headers, "Content-Type", octets, false)
		}
		if j.GetAttemptDeadline().AsDuration() == 0 {
			j.AttemptDeadline = durationpb.New(defaultHTTPDeadline)
		}
	case j.GetAppEngineHttpTarget() != nil:
		completeAppEngine(j, j.GetAppEngineHttpTarget())
	case j.GetPubsubTarget() != nil:
		j.AttemptDeadline = nil // is ignored
	}
}

// atMost is a bound that may be missing.
func atMost(d *durationpb.Duration) time.Duration {
	if d == nil {
		return defaultMinBackoff
	}
	return d.AsDuration()
}

func completeAppEngine(j *schedulerpb.Job, t *schedulerpb.AppEngineHttpTarget) {
	t.HttpMethod = method(t.HttpMethod)
	if t.RelativeUri == "" {
		t.RelativeUri = "/"
	}
	own := ""
	for name, value := range t.Headers {
		if strings.EqualFold(name, "User-Agent") {
			own = value
			delete(t.Headers, name)
		}
	}
	agent := dispatch.AppEngineUserAgent
	if own != "" && !strings.HasSuffix(own, agent) {
		agent = own + " " + agent
	} else if own != "" {
		agent = own
	}
	t.Headers = withDefault(t.Headers, "User-Agent", agent, true)
	if len(t.Body) > 0 {
		t.Headers = withDefault(t.Headers, "Content-Type", octets, false)
	}
	if t.AppEngineRouting == nil {
		t.AppEngineRouting = new(schedulerpb.AppEngineRouting)
	}
	r := t.AppEngineRouting
	project, location := splitJob(j.GetName())
	var host strings.Builder
	for _, part := range []string{r.GetInstance(), r.GetVersion(), r.GetService(), project, location} {
		if part != "" {
			host.WriteString(part + ".")
		}
	}
	r.Host = host.String() + "r.appspot.com"
}

func method(m schedulerpb.HttpMethod) schedulerpb.HttpMethod {
	if m == schedulerpb.HttpMethod_HTTP_METHOD_UNSPECIFIED {
		return schedulerpb.HttpMethod_POST
	}
	return m
}

// withDefault sets a header, over one of the same name only if it has to.
func withDefault(headers map[string]string, name, value string, always bool) map[string]string {
	for other := range headers {
		if strings.EqualFold(other, name) {
			if !always {
				return headers
			}
			delete(headers, other)
		}
	}
	if headers == nil {
		headers = map[string]string{}
	}
	headers[name] = value
	return headers
}
