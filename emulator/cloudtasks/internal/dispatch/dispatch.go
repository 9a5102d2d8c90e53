package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/identity"
)

const (
	// DefaultDeadline is that of a task without one.
	DefaultDeadline = 10 * time.Minute

	maxAnswerHeader = 128 << 10
	maxAnswerBody   = 1 << 20 // the rest of a longer answer isn't waited for
	maxQuoted       = 200
)

// A Dispatcher delivers tasks.
type Dispatcher struct {
	Transport http.RoundTripper
	Tokens    *identity.Tokens
	AppEngine map[string]string // addresses, by service, version.service or instance.version.service; "" has the rest
	Logger    *slog.Logger      // required

	// Route, which may be nil, names the App Engine service that a dispatch.yaml
	// gives to requests for the host and the path; "" is no rule. It counts for
	// tasks for which neither they nor their queue name a service.
	Route func(host, path string) (service string)

	specs specs
}

// A Transport makes requests, and can be told to close the connections that it
// keeps.
type Transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// NewTransport returns a transport for at most n requests at a time.
func NewTransport(n int) Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return Direct(&http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           n,
		MaxIdleConnsPerHost:    n,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    30 * time.Second,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // its header would be ours, not the task's
	})
}

// Direct returns a transport with the dialer and the bounds of base, which uses
// no proxy. It makes small requests over plain HTTP itself.
func Direct(base *http.Transport) Transport {
	if !canProbe {
		return base
	}
	return &direct{base: base}
}

// Deliver makes one attempt. It is an engine's Deliver function.
func (d *Dispatcher) Deliver(ctx context.Context, a *engine.Delivery) engine.Result {
	began := time.Now()
	target, result := d.attempt(ctx, a)
	d.log(ctx, a, target, result, time.Since(began))
	return result
}

// attempt also returns the target, for people to read.
func (d *Dispatcher) attempt(ctx context.Context, a *engine.Delivery) (target string, _ engine.Result) {
	task := new(cloudtaskspb.Task)
	if err := proto.Unmarshal(a.Spec, task); err != nil {
		return "", failed(codes.Internal, fmt.Errorf("stored task: %w", err))
	}
	deadline := DefaultDeadline
	if task.GetDispatchDeadline() != nil {
		deadline = task.GetDispatchDeadline().AsDuration()
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()

	appEngine := task.GetAppEngineHttpRequest() != nil
	var request *http.Request
	var err error
	if appEngine {
		target = task.GetAppEngineHttpRequest().GetRelativeUri()
		request, err = d.appEngineRequest(ctx, a, task.GetAppEngineHttpRequest())
	} else {
		target = task.GetHttpRequest().GetUrl()
		request, err = d.httpRequest(ctx, a, task.GetHttpRequest())
	}
	if errors.Is(err, errInternal) {
		return target, failed(codes.Internal, err)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("the URL can't be used: %w", e.Err) // without the URL, which can be longer than what is kept
	}
	if err != nil {
		return target, failed(codes.InvalidArgument, err)
	}
	target = request.URL.Redacted()
	response, err := d.Transport.RoundTrip(request)
	if err == nil {
		err = discard(response.Body)
	}
	if err == nil || errors.Is(err, errLong) {
		result := answered(response.StatusCode, appEngine)
		if result.Slow {
			result.RetryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
		}
		return target, result
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return target, failed(codes.DeadlineExceeded, fmt.Errorf("no answer within %v", deadline))
	}
	return target, failed(codes.Unavailable, err)
}

var (
	errLong     = errors.New("long answer")
	errInternal = errors.New("the request can't be made")
)

// discard reads an answer to its end, so that the connection can be used again
// and an answer that breaks off isn't taken for one. It gives up on long ones.
func discard(body io.ReadCloser) error {
	defer body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(body, maxAnswerBody+1))
	if err == nil && n > maxAnswerBody {
		return errLong
	}
	return err
}

// answered is the result of an HTTP status. Only HTTP targets distinguish
// between answers in counting executions: theirs leave out 5xx.
func answered(status int, appEngine bool) engine.Result {
	r := engine.Result{
		Done:      status >= 200 && status <= 299,
		Responded: true,
		Executed:  appEngine || status < 500,
		Status:    status,
		Slow:      status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests && !appEngine,
	}
	if !r.Done {
		code := codeOf(status)
		r.Code, r.Message = int32(code), describe(code, fmt.Sprintf("HTTP status code %d", status))
	}
	return r
}

// retryAfter reads the header of this name, seconds or a date; 0 is none.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// failed is the result of an attempt without an answer.
func failed(code codes.Code, err error) engine.Result {
	status := http.StatusServiceUnavailable
	switch code {
	case codes.DeadlineExceeded:
		status = http.StatusGatewayTimeout
	case codes.InvalidArgument:
		status = http.StatusBadRequest
	case codes.Internal:
		status = http.StatusInternalServerError
	}
	return engine.Result{Status: status, Code: int32(code), Message: describe(code, err.Error())}
}

// describe renders a status message in the way of the service.
func describe(code codes.Code, text string) string {
	text = Excerpt(strings.ToValidUTF8(text, "�"))
	return fmt.Sprintf("%s(%d): %s", codeNames[code], int(code), text)
}

// Excerpt is text, or its first 200 bytes with an ellipsis: what errors and logs
// quote of texts whose length others choose.
func Excerpt(text string) string {
	if len(text) <= maxQuoted {
		return text
	}
	return strings.ToValidUTF8(text[:maxQuoted], "") + "…"
}

// codeNames has the codes that describe is called with.
var codeNames = map[codes.Code]string{
	codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.Aborted: "ABORTED", codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL",
	codes.Unavailable: "UNAVAILABLE", codes.Unauthenticated: "UNAUTHENTICATED",
}

// codeOf maps HTTP statuses as google/rpc/code.proto does.
func codeOf(status int) codes.Code {
	switch status {
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict:
		return codes.Aborted
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case 499:
		return codes.Canceled
	case http.StatusInternalServerError:
		return codes.Internal
	case http.StatusNotImplemented:
		return codes.Unimplemented
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	}
	return codes.Unknown
}
