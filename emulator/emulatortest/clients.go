package emulatortest

import (
	"context"
	"net"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/datastore"
	scheduler "cloud.google.com/go/scheduler/apiv1"
	"github.com/bradfitz/gomemcache/memcache"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// NewDatastoreClient returns another Datastore client, with connections of its
// own, and with dial options such as the interceptor of a fault.Script.
func (e *Env) NewDatastoreClient(opts ...grpc.DialOption) *datastore.Client {
	e.t.Helper()
	c, err := datastore.NewClient(context.Background(), e.Project, e.clientOptions(e.Suite.DatastoreAddr(), opts)...)
	if err != nil {
		e.t.Fatalf("emulatortest: Datastore client: %v", err)
	}
	e.onClose(func() { _ = c.Close() }) // the test may have done so
	return c
}

// NewTasksClient returns another Cloud Tasks client, likewise.
func (e *Env) NewTasksClient(opts ...grpc.DialOption) *cloudtasks.Client {
	e.t.Helper()
	c, err := cloudtasks.NewClient(context.Background(), e.clientOptions(e.Suite.CloudTasksAddr(), opts)...)
	if err != nil {
		e.t.Fatalf("emulatortest: Cloud Tasks client: %v", err)
	}
	e.onClose(func() { _ = c.Close() })
	return c
}

// NewSchedulerClient returns another Cloud Scheduler client, likewise: the jobs
// are served on the port of Cloud Tasks.
func (e *Env) NewSchedulerClient(opts ...grpc.DialOption) *scheduler.CloudSchedulerClient {
	e.t.Helper()
	c, err := scheduler.NewCloudSchedulerClient(context.Background(), e.clientOptions(e.Suite.CloudTasksAddr(), opts)...)
	if err != nil {
		e.t.Fatalf("emulatortest: Cloud Scheduler client: %v", err)
	}
	e.onClose(func() { _ = c.Close() })
	return c
}

func (e *Env) clientOptions(addr string, opts []grpc.DialOption) []option.ClientOption {
	out := []option.ClientOption{option.WithEndpoint("passthrough:///" + addr), option.WithoutAuthentication(), option.WithTelemetryDisabled()}
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return e.Net.DialContext(ctx, "tcp", addr)
		}),
	}, opts...)
	for _, opt := range opts {
		out = append(out, option.WithGRPCDialOption(opt))
	}
	return out
}

// NewMemcacheClient returns another memcached client. dial is nil or the
// DialContext of a fault.Dialer over e.Net.
func (e *Env) NewMemcacheClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *memcache.Client {
	if dial == nil {
		dial = e.Net.DialContext
	}
	c := memcache.New(e.Suite.MemcachedAddr())
	c.DialContext = dial
	c.MaxIdleConns = 100
	e.onClose(func() { _ = c.Close() })
	return c
}
