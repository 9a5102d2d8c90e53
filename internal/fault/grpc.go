package fault

import (
	"context"
	"path"

	"google.golang.org/grpc"
)

// Unary returns the client interceptor that puts the script into the way of
// unary calls. Its errors should be those of package status: others reach the
// caller as they are, which no server's answer does.
func (s *Script) Unary() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		_, err := s.run(ctx, []string{method, path.Base(method)}, func() error {
			return invoke(ctx, method, req, reply, cc, opts...)
		})
		return err
	}
}
