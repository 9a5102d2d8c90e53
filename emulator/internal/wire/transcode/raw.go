package transcode

import (
	"context"
	"net/http"

	"github.com/latchwork/latchwork/emulator/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Raw returns a handler for requests whose bodies are no messages: f gets the
// body as it came, decompressed. Everything else is as for methods: bounds,
// metadata, interceptors, which are told that the call is method, and the
// dialects of answers and errors.
func (h *Handler) Raw(method string, f func(ctx context.Context, r *http.Request, body []byte) (proto.Message, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{h: h, w: w, r: r, format: jsonNames}
		resp, err := h.raw(a, method, f)
		if err != nil {
			a.fail(err)
			return
		}
		a.succeed(resp, &route{})
	})
}

func (h *Handler) raw(a *answer, method string, f func(context.Context, *http.Request, []byte) (proto.Message, error)) (proto.Message, error) {
	q, err := parseQuery(a.r.URL.RawQuery)
	if q.format != unspecified {
		a.format = q.format
	}
	a.compact = q.compactAsked
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := callContext(a.r)
	if err != nil {
		return nil, err
	}
	defer cancel()
	body, err := readBody(a.r)
	if err != nil {
		return nil, err
	}
	out, err := wire.Recover(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
		return h.intercept(ctx, body, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
			return f(ctx, a.r, body)
		})
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
