package protocol

import (
	"context"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// maxRequest bounds a request, and what one commit writes, as Google documents
// for requests and for transactions.
const maxRequest = 10 << 20

// Limit is what refuses gRPC requests over the documented size.
func Limit() *wire.Limit { return wire.NewLimit(maxRequest, tooLarge) }

// Bound is an interceptor that refuses such requests where they came otherwise.
func (s *Service) Bound(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if m, ok := req.(proto.Message); ok {
		if n := proto.Size(m); n > maxRequest {
			return nil, tooLarge(n)
		}
	}
	return next(ctx, req)
}

func tooLarge(n int) error {
	return invalid("A request has at most %d bytes; this one has %d.", maxRequest, n)
}

// checkAnswer refuses a commit whose answer might not fit: every mutation has
// its result, so nothing can be left out, and a client that can't take the
// answer wouldn't learn that its commit was carried out.
func (c *commit) checkAnswer() error {
	const (
		result    = 2 + 10 + 2*(2+12) + 2 // version, times, a conflict
		transform = 24                    // a number or a time, an index setting
		key       = 4 + 10                // and an identifier
	)
	n := 0
	for i := range c.planned {
		p := &c.planned[i]
		n += result + transform*len(p.transforms)
		if p.allocated {
			n += key + proto.Size(p.key)
		}
	}
	if n > maxAnswer {
		return invalid("The answer to a commit has at most %d bytes; the results of these %d mutations may take %d.", maxAnswer, len(c.planned), n)
	}
	return nil
}

// checkAllocated bounds the answer of AllocateIds likewise.
func checkAllocated(keys []*pb.Key) error {
	n := 0
	for _, k := range keys {
		n += proto.Size(k) + 16
	}
	if n > maxAnswer {
		return invalid("The answer to AllocateIds has at most %d bytes; these %d keys take %d.", maxAnswer, len(keys), n)
	}
	return nil
}
