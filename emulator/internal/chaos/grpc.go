package chaos

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Outage returns an interceptor that answers struck calls of methods with the
// given prefix with UNAVAILABLE. Half of those that change something, by their
// full names, are carried out first.
func (c *Chaos) Outage(f Fault, prefix string, changes func(method string) bool) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if !strings.HasPrefix(info.FullMethod, prefix) {
			return next(ctx, req)
		}
		dice, struck := c.StrikesNext(f, info.FullMethod)
		switch {
		case !struck:
			return next(ctx, req)
		case dice.Half() && changes(info.FullMethod):
			if _, err := next(ctx, req); err != nil {
				return nil, err
			}
			return nil, status.Error(codes.Unavailable, "The service is currently unavailable. (chaos: the call was carried out, its answer is lost)")
		}
		return nil, status.Error(codes.Unavailable, "The service is currently unavailable. (chaos: nothing was done)")
	}
}
