package cloudtasks_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	tasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/dispatch"
	"github.com/latchwork/latchwork/internal/pipenet"
)

const (
	location = "projects/p/locations/us-central1"
	queue1   = location + "/queues/q1"
	target   = "http://worker:80/work"
	address  = "127.0.0.1:8123"
)

// An env is a server on a network in memory, with the Go client and a target.
// All of it works inside a synctest bubble.
type env struct {
	t      testing.TB
	net    *pipenet.Network
	server *cloudtasks.Server
	tasks  *tasks.Client
}

// start runs a server whose deliveries reach handler under the host worker.
func start(t testing.TB, o *cloudtasks.Options, handler http.Handler) *env {
	t.Helper()
	e := &env{t: t, net: pipenet.New()}
	if o == nil {
		o = new(cloudtasks.Options)
	}
	if o.Transport == nil {
		o.Transport = dispatch.Direct(e.transport())
	}
	if handler != nil {
		e.serveHTTP("worker:80", handler)
	}
	e.open(o)
	e.tasks = e.client()
	return e
}

// transport is one of net/http on the network.
func (e *env) transport() *http.Transport {
	return &http.Transport{DialContext: e.net.DialContext, DisableCompression: true, MaxResponseHeaderBytes: 128 << 10}
}

// open starts a server on the network.
func (e *env) open(o *cloudtasks.Options) {
	e.t.Helper()
	server, err := cloudtasks.New(o)
	if err != nil {
		e.t.Fatal(err)
	}
	l, err := e.net.Listen(address)
	if err != nil {
		e.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	e.t.Cleanup(func() {
		if err := server.Close(); err != nil {
			e.t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil {
			e.t.Errorf("Serve: %v", err)
		}
	})
	e.server = server
}

func (e *env) client() *tasks.Client {
	e.t.Helper()
	client, err := tasks.NewClient(context.Background(),
		option.WithEndpoint("passthrough:///"+address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) {
			return e.net.DialContext(ctx, "tcp", a)
		})),
		option.WithTelemetryDisabled(),
	)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { client.Close() })
	return client
}

func (e *env) serveHTTP(addr string, h http.Handler) {
	e.t.Helper()
	l, err := e.net.Listen(addr)
	if err != nil {
		e.t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	e.t.Cleanup(func() { server.Close() })
}

// queue creates queue1 as q wants it.
func (e *env) queue(q *cloudtaskspb.Queue) *cloudtaskspb.Queue {
	e.t.Helper()
	if q == nil {
		q = new(cloudtaskspb.Queue)
	}
	if q.Name == "" {
		q.Name = queue1
	}
	created, err := e.tasks.CreateQueue(e.t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: q})
	if err != nil {
		e.t.Fatal(err)
	}
	return created
}

// post is a task that posts to the target.
func post(id string) *cloudtaskspb.Task {
	t := &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{
		HttpRequest: &cloudtaskspb.HttpRequest{Url: target, Body: []byte("payload")},
	}}
	if id != "" {
		t.Name = queue1 + "/tasks/" + id
	}
	return t
}

func (e *env) create(t *cloudtaskspb.Task) *cloudtaskspb.Task {
	e.t.Helper()
	created, err := e.tasks.CreateTask(e.t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue1, Task: t})
	if err != nil {
		e.t.Fatal(err)
	}
	return created
}

func (e *env) get(id string) (*cloudtaskspb.Task, error) {
	return e.tasks.GetTask(e.t.Context(), &cloudtaskspb.GetTaskRequest{
		Name: queue1 + "/tasks/" + id, ResponseView: cloudtaskspb.Task_FULL,
	})
}

// A recorder is a target that remembers its requests and answers by a script,
// and 200 when the script is over.
type recorder struct {
	script []int

	mu       sync.Mutex
	received []http.Header
	arrivals []time.Time
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := http.StatusOK
	if n := len(r.arrivals); n < len(r.script) {
		status = r.script[n]
	}
	r.received = append(r.received, req.Header.Clone())
	r.arrivals = append(r.arrivals, time.Now())
	w.WriteHeader(status)
}

func (r *recorder) times() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrivals)
}

func (r *recorder) headers() []http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.received)
}

func newReader(c net.Conn) *bufio.Reader { return bufio.NewReader(c) }

// dial serves on a real socket and connects the client to it.
func (e *env) dial(server *cloudtasks.Server) (addr string) {
	e.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	go server.Serve(l)
	e.tasks = dialTasks(e.t, l.Addr().String())
	return l.Addr().String()
}

func dialTasks(t testing.TB, addr string) *tasks.Client {
	t.Helper()
	client, err := tasks.NewClient(context.Background(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())), option.WithTelemetryDisabled())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
