package service

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// Limits of tasks.
const (
	maxTag         = 500       // characters, and one
	maxTaskSize    = 1_048_569 // serialized, as stored
	maxURL         = 2083
	maxHeaders     = 80 << 10 // names and values
	maxAhead       = 30 * 24 * time.Hour
	minDeadline    = 15 * time.Second
	maxHTTP        = 30 * time.Minute
	maxAppEngine   = 24*time.Hour + 15*time.Second
	appEngineAgent = dispatch.AppEngineUserAgent
)

// A Task is a task as all versions together say it.
type Task struct {
	*cloudtaskspb.Task
	Pull *Message // of tasks of pull queues, which have no target
}

// A Message is what a task of a pull queue carries.
type Message struct {
	Payload []byte
	Tag     string
}

// normalize checks a task that is to be created in queue and brings it into its
// stored shape. What is output only is dropped.
func (t *Task) normalize(queue string, now time.Time) error {
	if err := t.normalizeTarget(queue); err != nil {
		return err
	}
	if err := checkRetry(t.GetRetryConfig()); err != nil {
		return err
	}
	if err := checkSchedule(t.Task, now); err != nil {
		return err
	}
	t.ProtoReflect().SetUnknown(nil)
	t.CreateTime, t.FirstAttempt, t.LastAttempt = nil, nil, nil
	t.DispatchCount, t.ResponseCount, t.View = 0, 0, cloudtaskspb.Task_VIEW_UNSPECIFIED
	return nil
}

func (t *Task) normalizeTarget(queue string) error {
	switch target := t.GetMessageType().(type) {
	case *cloudtaskspb.Task_HttpRequest:
		if target.HttpRequest == nil {
			target.HttpRequest = new(cloudtaskspb.HttpRequest)
		}
		if err := normalizeHTTP(target.HttpRequest); err != nil {
			return err
		}
		return normalizeDeadline(t.Task, maxHTTP)
	case *cloudtaskspb.Task_AppEngineHttpRequest:
		if target.AppEngineHttpRequest == nil {
			target.AppEngineHttpRequest = new(cloudtaskspb.AppEngineHttpRequest)
		}
		if err := normalizeAppEngine(queue, target.AppEngineHttpRequest); err != nil {
			return err
		}
		return normalizeDeadline(t.Task, maxAppEngine)
	}
	switch {
	case t.Pull == nil:
		return Invalid("Task must have a target: http_request or app_engine_http_request.")
	case utf8.RuneCountInString(t.Pull.Tag) >= maxTag:
		return Invalid("PullMessage.tag must be less than %d characters, not %d.", maxTag, utf8.RuneCountInString(t.Pull.Tag))
	}
	return nil
}

func normalizeDeadline(t *cloudtaskspb.Task, longest time.Duration) error {
	d := t.GetDispatchDeadline()
	if d == nil {
		t.DispatchDeadline = durationpb.New(dispatch.DefaultDeadline)
		return nil
	}
	deadline := d.AsDuration().Truncate(time.Millisecond)
	if deadline == 0 && longest == maxAppEngine {
		deadline = dispatch.DefaultDeadline
	}
	if d.CheckValid() != nil || deadline < minDeadline || deadline > longest {
		upper := "30m"
		if longest == maxAppEngine {
			upper = "24h15s"
		}
		return Invalid("Task.dispatchDeadline must be between [15s, %s].", upper)
	}
	t.DispatchDeadline = durationpb.New(deadline)
	return nil
}

func checkSchedule(t *cloudtaskspb.Task, now time.Time) error {
	at := t.GetScheduleTime()
	if at == nil {
		return nil
	}
	if err := at.CheckValid(); err != nil {
		return Invalid("The Task.scheduleTime is not a valid time: %d s and %d ns since 1970.", at.GetSeconds(), at.GetNanos())
	}
	if at.AsTime().Sub(now) > maxAhead {
		return Invalid("The Task.scheduleTime, %s, is too far in the future. Schedule time must be no more than 720h in the future.",
			at.AsTime().In(pacific()).Format(time.RFC3339Nano))
	}
	return nil
}

// pacific is the zone in which the service words times. Without a zone database
// winter time has to do.
func pacific() *time.Location {
	if zone, err := time.LoadLocation("America/Los_Angeles"); err == nil {
		return zone
	}
	return time.FixedZone("PST", -8*60*60)
}

func normalizeHTTP(r *cloudtaskspb.HttpRequest) error {
	switch url := r.GetUrl(); {
	case url == "":
		return Invalid("HttpRequest.url is required.")
	case !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://"):
		return Invalid("HttpTarget.url must start with 'http://' or 'https://'.")
	case len(url) > maxURL:
		return Invalid("HttpRequest.url is %d characters long; the most is %d.", len(url), maxURL)
	}
	if err := normalizeMethod(&r.HttpMethod); err != nil {
		return err
	}
	switch r.HttpMethod {
	case cloudtaskspb.HttpMethod_POST, cloudtaskspb.HttpMethod_PUT, cloudtaskspb.HttpMethod_PATCH:
	default:
		if len(r.GetBody()) > 0 {
			return Invalid("HttpRequest.body is only allowed with POST, PUT and PATCH, not with %v.", r.HttpMethod)
		}
	}
	if err := checkHeaders(r.GetHeaders()); err != nil {
		return err
	}
	r.Headers = withoutHeader(r.GetHeaders(), "User-Agent")
	r.Headers["User-Agent"] = dispatch.HTTPUserAgent
	if token := r.GetOidcToken(); token != nil && token.GetServiceAccountEmail() == "" {
		return Invalid("HttpRequest.oidcToken.serviceAccountEmail is required.")
	}
	if token := r.GetOauthToken(); token != nil && token.GetServiceAccountEmail() == "" {
		return Invalid("HttpRequest.oauthToken.serviceAccountEmail is required.")
	}
	return nil
}

func normalizeAppEngine(queue string, r *cloudtaskspb.AppEngineHttpRequest) error {
	switch uri := r.GetRelativeUri(); {
	case uri == "":
		r.RelativeUri = "/"
	case uri[0] != '/':
		return Invalid("AppEngineHttpRequest.relativeUri must begin with '/', not %q.", uri[:1])
	case len(uri) > maxURL:
		return Invalid("AppEngineHttpRequest.relativeUri is %d characters long; the most is %d.", len(uri), maxURL)
	case strings.ContainsRune(uri, ' '):
		return Invalid("AppEngineHttpRequest.relativeUri must not contain spaces.")
	}
	if err := normalizeMethod(&r.HttpMethod); err != nil {
		return err
	}
	if m := r.HttpMethod; len(r.GetBody()) > 0 && m != cloudtaskspb.HttpMethod_POST && m != cloudtaskspb.HttpMethod_PUT {
		return Invalid("AppEngineHttpRequest.body is only allowed with POST and PUT, not with %v.", m)
	}
	if err := checkHeaders(r.GetHeaders()); err != nil {
		return err
	}
	agent, custom := header(r.GetHeaders(), "User-Agent")
	if !strings.HasSuffix(agent, appEngineAgent) {
		agent = strings.TrimSpace(agent + " " + appEngineAgent)
	}
	r.Headers = withoutHeader(r.GetHeaders(), "Content-Length")
	if custom {
		r.Headers = withoutHeader(r.Headers, "User-Agent")
	}
	r.Headers["User-Agent"] = agent
	if len(r.GetBody()) > 0 {
		r.Headers["Content-Length"] = strconv.Itoa(len(r.GetBody()))
		if _, set := header(r.Headers, "Content-Type"); !set {
			r.Headers["Content-Type"] = "application/octet-stream"
		}
	}
	if r.AppEngineRouting == nil {
		r.AppEngineRouting = new(cloudtaskspb.AppEngineRouting)
	}
	if err := checkRouting(r.AppEngineRouting); err != nil {
		return err
	}
	r.AppEngineRouting.Host = routingHost(queue, r.AppEngineRouting)
	return nil
}

func normalizeMethod(m *cloudtaskspb.HttpMethod) error {
	if *m == cloudtaskspb.HttpMethod_HTTP_METHOD_UNSPECIFIED {
		*m = cloudtaskspb.HttpMethod_POST
	}
	if _, known := cloudtaskspb.HttpMethod_name[int32(*m)]; !known {
		return Invalid("HTTP method %d is not one of the API's.", int32(*m))
	}
	return nil
}

// checkHeaders refuses what can't be sent.
func checkHeaders(headers map[string]string) error {
	size := 0
	for name, value := range headers {
		if !httpguts.ValidHeaderFieldName(name) {
			return Invalid("Header name %q is not a valid HTTP header name.", name)
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return Invalid("The value of header %q holds control characters.", name)
		}
		size += len(name) + len(value)
	}
	if size >= maxHeaders {
		return Invalid("The headers hold %d bytes; they must be less than 80 KB.", size)
	}
	return nil
}

// header finds a header in any spelling.
func header(headers map[string]string, name string) (value string, ok bool) {
	for other, value := range headers {
		if strings.EqualFold(other, name) {
			return value, true
		}
	}
	return "", false
}

// withoutHeader removes a header in every spelling. The map is made if need be.
func withoutHeader(headers map[string]string, name string) map[string]string {
	if headers == nil {
		return make(map[string]string)
	}
	for other := range headers {
		if strings.EqualFold(other, name) {
			delete(headers, other)
		}
	}
	return headers
}

// taskRetry is the rule of a task that has one of its own, which replaces the
// queue's as a whole: what it leaves out has the service's default.
func taskRetry(r *cloudtaskspb.RetryConfig) *engine.Retry {
	if r == nil {
		return nil
	}
	retry := retryOf(r)
	if retry.MaxDoublings == 0 {
		retry.MaxDoublings = defaultDoublings
	}
	return &retry
}

// payloadField is where the payload of a pull task is stored: its spec is a task
// of v2, which has no such field.
const payloadField protowire.Number = 1000

// payload is that of the unknown fields of a stored task.
func payload(unknown []byte) (stored []byte, ok bool) {
	number, kind, n := protowire.ConsumeTag(unknown)
	if number != payloadField || kind != protowire.BytesType {
		return nil, false
	}
	stored, n = protowire.ConsumeBytes(unknown[n:])
	return stored, n >= 0
}

// spec is what the engine keeps of a normalized task: everything but what the
// engine itself knows. It refuses tasks over the limit.
func (t *Task) spec(queue string) ([]byte, error) {
	name, schedule := t.Name, t.ScheduleTime
	t.Name, t.ScheduleTime = "", nil
	spec, err := proto.Marshal(t.Task)
	t.Name, t.ScheduleTime = name, schedule
	if err != nil {
		return nil, Invalid("The task can't be stored: %v", err) // strings that are not UTF-8
	}
	stored := 0
	if t.Pull != nil {
		spec = protowire.AppendTag(spec, payloadField, protowire.BytesType)
		spec = protowire.AppendBytes(spec, t.Pull.Payload)
		stored = fieldSize(len(t.Pull.Tag))
	}
	stored += len(spec)
	if name == "" {
		name = queue + "/tasks/12345678901234567890"
	}
	if schedule == nil {
		schedule = timestamppb.Now()
	}
	// Stored beside the spec: the name, and two times, one of whole seconds.
	stored += fieldSize(len(name)) + fieldSize(proto.Size(schedule)) +
		fieldSize(proto.Size(&timestamppb.Timestamp{Seconds: schedule.GetSeconds()}))
	if stored > maxTaskSize {
		return nil, Invalid(textTooBig)
	}
	return spec, nil
}

// fieldSize is the size of n bytes as a field with a number below 16.
func fieldSize(n int) int { return 1 + protowire.SizeBytes(n) }
