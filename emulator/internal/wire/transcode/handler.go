package transcode

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchwork/latchwork/emulator/internal/wire"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Options for New; nil and the zero value mean the defaults stated.
type Options struct {
	// Interceptors are those of the grpc.Server with the same services, the
	// outermost first. wire.Recover is around them.
	Interceptors []grpc.UnaryServerInterceptor

	// Rules are bindings that take the place of a method's annotations, by
	// their selectors: services that are mixed into others have their paths in
	// the configuration of those, not in annotations.
	Rules []*annotations.HttpRule

	// BadBody is the message about bodies that are no message, the reason being
	// in the details; "" has both in the message, as most of Google's servers do.
	BadBody string
}

// Handler serves the registered services. Requests are to come through
// wire.Guard.
type Handler struct {
	routes    func() (*routes, error)
	intercept grpc.UnaryServerInterceptor
	badBody   string
	zippers   zippers
}

// New returns the handler of the services that register registers. The error
// names the annotations that can't be served.
func New(o *Options, register func(grpc.ServiceRegistrar)) (*Handler, error) {
	h := Lazy(o, register)
	if _, err := h.routes(); err != nil {
		return nil, err
	}
	return h, nil
}

// Lazy is New for annotations that are known to be fine: they are read when the
// first request comes, which spares programs the time that only speak gRPC. If
// they aren't, all requests are answered with the error.
func Lazy(o *Options, register func(grpc.ServiceRegistrar)) *Handler {
	if o == nil {
		o = &Options{}
	}
	return &Handler{
		routes:    sync.OnceValues(func() (*routes, error) { return collect(o.Rules, register) }),
		intercept: chain(o.Interceptors),
		badBody:   o.BadBody,
	}
}

// collect returns the routes of what register registers.
func collect(rules []*annotations.HttpRule, register func(grpc.ServiceRegistrar)) (*routes, error) {
	s := &services{
		rules:  map[string]*annotations.HttpRule{},
		routes: routes{byMethod: map[string]map[string][]*route{}, verbs: map[string]bool{}},
		shapes: map[string]string{},
	}
	for _, rule := range rules {
		s.rules[rule.GetSelector()] = rule
	}
	register(s)
	if err := errors.Join(s.errs...); err != nil {
		return nil, fmt.Errorf("transcode: %w", err)
	}
	return &s.routes, nil
}

// chain makes one interceptor of several.
func chain(all []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		for _, intercept := range slices.Backward(all) {
			next := handler
			handler = func(ctx context.Context, req any) (any, error) { return intercept(ctx, req, info, next) }
		}
		return handler(ctx, req)
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{h: h, w: w, r: r, format: jsonNames}
	if isBinary(mediaType(r)) || strings.Contains(r.Header.Get("Accept"), typeBinary) {
		a.format = binary
	}
	resp, route, err := h.serve(a)
	if err != nil {
		a.fail(err)
		return
	}
	a.succeed(resp, route)
}

// serve finds the method, reads the request and makes the call.
func (h *Handler) serve(a *answer) (proto.Message, *route, error) {
	r := a.r
	q, err := parseQuery(r.URL.RawQuery)
	if q.format != unspecified {
		a.format = q.format
	}
	a.compact = q.compactAsked
	httpMethod := r.Method
	if override := r.Header.Get("X-HTTP-Method-Override"); override != "" && httpMethod == http.MethodPost {
		httpMethod = strings.ToUpper(override)
	}
	routes, failed := h.routes()
	if failed != nil {
		return nil, nil, status.Error(codes.Internal, failed.Error())
	}
	route, values := routes.find(httpMethod, r.URL.EscapedPath())
	if route == nil {
		return nil, nil, status.Error(codes.NotFound, "Not Found")
	}
	if err != nil {
		return nil, nil, err
	}
	if r.Header.Get("X-Goog-FieldMask") != "" {
		return nil, nil, errPartial
	}
	ctx, cancel, err := callContext(r)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()

	body, err := readBody(r)
	if err != nil {
		return nil, nil, err
	}
	if len(body) > 0 {
		if r.Method != httpMethod && mediaType(r) == typeForm {
			// A long query, sent as a body.
			more, err := parseQuery(string(body))
			if err != nil {
				return nil, nil, err
			}
			q.fields = append(q.fields, more.fields...)
			body = nil
		} else if err := checkType(r); err != nil {
			return nil, nil, err
		}
	}
	resp, err := route.call(ctx, h.intercept, func(req proto.Message) error {
		if err := h.decode(route, body, isBinary(mediaType(r)), req); err != nil {
			return err
		}
		if err := q.apply(req.ProtoReflect(), route.body); err != nil {
			return err
		}
		for i, field := range route.vars {
			if err := field.agree(req.ProtoReflect(), values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return resp, route, err
}

// call runs the handler that gRPC runs. fill makes the request.
func (m *method) call(ctx context.Context, intercept grpc.UnaryServerInterceptor, fill func(proto.Message) error) (proto.Message, error) {
	out, err := wire.Recover(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
		return m.desc.Handler(m.impl, ctx, func(in any) error {
			req, ok := in.(proto.Message)
			if !ok {
				return status.Errorf(codes.Internal, "%T is no message", in)
			}
			return fill(req)
		}, intercept)
	})
	if err != nil {
		return nil, err
	}
	resp, ok := out.(proto.Message)
	if !ok {
		return nil, status.Errorf(codes.Internal, "%T is no message", out)
	}
	return resp, nil
}

// callContext is the request's context with its headers as metadata and its
// deadline, if it gives one.
func callContext(r *http.Request) (context.Context, context.CancelFunc, error) {
	md := metadata.MD{":authority": {r.Host}}
	for name, values := range r.Header {
		name = strings.ToLower(name)
		switch name {
		case "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection",
			"content-length", "content-encoding", "content-type", "accept-encoding", "x-http-method-override", "x-server-timeout":
			continue // of this hop or this dialect
		}
		if strings.HasPrefix(name, "grpc-") {
			continue // gRPC's own
		}
		if strings.HasSuffix(name, "-bin") {
			decoded := make([]string, len(values))
			for i, v := range values {
				b, err := parseBytes(v)
				if err != nil {
					return nil, nil, invalid("The header %s must be base64, as its name ends in -bin.", quote(name))
				}
				decoded[i] = string(b)
			}
			values = decoded
		}
		md[name] = values
	}
	ctx := metadata.NewIncomingContext(r.Context(), md)
	timeout := r.Header.Get("X-Server-Timeout")
	if timeout == "" {
		return ctx, func() {}, nil
	}
	seconds, err := strconv.ParseFloat(timeout, 64)
	if err != nil || !(seconds > 0) {
		return nil, nil, invalid("The header X-Server-Timeout is %s: it must be a positive number of seconds.", quote(timeout))
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(min(seconds, maxTimeout.Seconds())*float64(time.Second)))
	return ctx, cancel, nil
}

// maxTimeout is what longer ones count as.
const maxTimeout = 24 * time.Hour
