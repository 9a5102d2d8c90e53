package wire

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// A Limit refuses gRPC requests that are too large with a server's own error. It
// goes by what has come over the wire: measuring requests that were decoded costs
// a tenth of what many calls do.
type Limit struct {
	encoding.CodecV2
	bytes  int
	refuse func(size int) error
	over   sync.Map // the requests to refuse, with their sizes, between Unmarshal and Intercept
}

// NewLimit returns the limit of so many bytes, at most MaxMessage.
func NewLimit(bytes int, refuse func(size int) error) *Limit {
	return &Limit{CodecV2: encoding.GetCodecV2(proto.Name), bytes: bytes, refuse: refuse}
}

// Option is for a server whose first interceptor is Intercept.
func (l *Limit) Option() grpc.ServerOption { return grpc.ForceServerCodecV2(l) }

// Unmarshal implements encoding.CodecV2.
func (l *Limit) Unmarshal(data mem.BufferSlice, v any) error {
	size := data.Len()
	err := l.CodecV2.Unmarshal(data, v)
	if err == nil && size > l.bytes {
		l.over.Store(v, size)
	}
	return err
}

// Intercept is the interceptor that refuses. It must be the outermost one that
// answers by itself.
func (l *Limit) Intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if size, over := l.over.LoadAndDelete(req); over {
		return nil, l.refuse(size.(int))
	}
	return next(ctx, req)
}
