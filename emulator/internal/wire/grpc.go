package wire

import (
	"context"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	minPing    = time.Second // Google's clients ping every 60 s, without streams too
	maxStreams = 10_000      // at once on one connection
	maxStack   = 2 << 10     // bytes of a panic's stack in its answer

	// workers are kept for calls, since a new goroutine has to grow its stack
	// first, several times. More calls than that have goroutines of their own.
	workers = 16
)

// GRPCOptions returns what every emulator's grpc.Server is made with: pings are
// welcome without streams, messages up to MaxMessage are read, a panic in a
// handler of a unary call (there are no others) becomes INTERNAL with its value
// and stack, and stopping waits for handlers.
func GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(workers),
		grpc.ChainUnaryInterceptor(Recover),
	}
}

// Recover is an interceptor that answers a panic in a handler with INTERNAL, the
// panic's value and its stack.
func Recover(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			err = status.Errorf(codes.Internal, "panic in the emulator, please report it: %v\n%s", v, stack[:min(len(stack), maxStack)])
		}
	}()
	return handler(ctx, req)
}
