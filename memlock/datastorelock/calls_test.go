package datastorelock_test

import (
	"context"
	"path"
	"strings"
	"sync"

	"google.golang.org/grpc"
)

// calls keeps the names of the calls that a client makes.
type calls struct {
	mu    sync.Mutex
	names []string
}

func (c *calls) log(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	c.mu.Lock()
	c.names = append(c.names, path.Base(method))
	c.mu.Unlock()
	return invoke(ctx, method, req, reply, cc, opts...)
}

// take returns what was called since it was asked last.
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := strings.Join(c.names, " ")
	c.names = nil
	return names
}
