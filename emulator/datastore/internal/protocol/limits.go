package protocol

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// maxRequest bounds a request, and what one commit writes, as Google documents
// for requests and for transactions.
const maxRequest = 10 << 20

// Bound is an interceptor that refuses requests over the documented size.
func (s *Service) Bound(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if m, ok := req.(proto.Message); ok {
		if n := proto.Size(m); n > maxRequest {
			return nil, invalid("A request has at most %d bytes; this one has %d.", maxRequest, n)
		}
	}
	return next(ctx, req)
}

// checkWritten bounds what a commit writes. Mutations without a mask are no
// larger than their request; a small one with a mask may rewrite a large entity.
func (c *commit) checkWritten() error {
	written := 0
	for i := range c.mutations {
		if m := &c.mutations[i]; m.Merged {
			written += len(m.Entity.Body())
		}
	}
	if written > maxRequest {
		return invalid("A transaction writes at most %d bytes; this one writes %d.", maxRequest, written)
	}
	return nil
}
