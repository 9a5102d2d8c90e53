package datastorelock_test

import (
	"testing"

	"cloud.google.com/go/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/memlock/datastorelock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
)

// The stand-in keeps its entities in memory: what this shows is what the client
// and its protocol cost at least.
func BenchmarkStore(b *testing.B) {
	b.Run("datastore stand-in", func(b *testing.B) {
		suite, err := emulator.Start(b.Context(), nil)
		check(b, err)
		b.Cleanup(func() { check(b, suite.Close()) })
		c, err := datastore.NewClient(b.Context(), "test-project",
			option.WithEndpoint("passthrough:///"+suite.DatastoreAddr()), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
		check(b, err)
		b.Cleanup(func() { check(b, c.Close()) })
		s, err := datastorelock.New(c, nil)
		check(b, err)
		memlocktest.BenchmarkStore(b, s)
	})
}
