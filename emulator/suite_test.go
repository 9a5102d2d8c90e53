package emulator_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/bradfitz/gomemcache/memcache"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/latchwork/latchwork/emulator"
	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/memcached"
	"github.com/latchwork/latchwork/internal/pipenet"
)

func start(t testing.TB, o *emulator.Options) *emulator.Suite {
	t.Helper()
	s, err := emulator.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

// touch makes one call to each server that only works when it serves.
func touch(t testing.TB, s *emulator.Suite) {
	t.Helper()
	if _, err := cloudtaskspb.NewCloudTasksClient(dial(t, s.CloudTasksAddr())).ListQueues(t.Context(),
		&cloudtaskspb.ListQueuesRequest{Parent: "projects/p/locations/us-central1"}); err != nil {
		t.Errorf("Cloud Tasks: %v", err)
	}
	if _, err := pb.NewDatastoreClient(dial(t, s.DatastoreAddr())).Lookup(t.Context(),
		&pb.LookupRequest{ProjectId: "p", Keys: []*pb.Key{key("x")}}); err != nil {
		t.Errorf("Datastore: %v", err)
	}
	if err := memcache.New(s.MemcachedAddr()).Ping(); err != nil {
		t.Errorf("memcached: %v", err)
	}
}

func key(name string) *pb.Key {
	return &pb.Key{
		PartitionId: &pb.PartitionId{ProjectId: "p"},
		Path:        []*pb.Key_PathElement{{Kind: "Thing", IdType: &pb.Key_PathElement_Name{Name: name}}},
	}
}

func TestStartIsReady(t *testing.T) {
	s := start(t, &emulator.Options{ConsoleAddr: "127.0.0.1:0"})
	touch(t, s)
	want := []string{
		"CLOUD_TASKS_EMULATOR_HOST=" + s.CloudTasksAddr(),
		"DATASTORE_EMULATOR_HOST=" + s.DatastoreAddr(),
		"MEMCACHE_ADDRS=" + s.MemcachedAddr(),
	}
	if diff := cmp.Diff(want, s.Env()); diff != "" {
		t.Errorf("Env (-want +got):\n%s", diff)
	}
	if code, body := get(t, "http://"+s.ConsoleAddr()+"/healthz", ""); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	_, page := get(t, "http://"+s.ConsoleAddr()+"/", "")
	for _, addr := range []string{s.CloudTasksAddr(), s.DatastoreAddr(), s.MemcachedAddr()} {
		if !strings.Contains(page, addr) {
			t.Errorf("the console doesn't show %s", addr)
		}
	}
	if code, _ := get(t, "http://"+s.ConsoleAddr()+"/", "evil.example"); code != 403 {
		t.Errorf("the console answers a foreign Host with %d, want 403", code)
	}
	if s.Err() != nil {
		t.Errorf("Err: %v", s.Err())
	}
}

func get(t testing.TB, url, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestZeroOptions(t *testing.T) {
	s := start(t, nil)
	if s.ConsoleAddr() != "" {
		t.Errorf("a console at %s that nobody asked for", s.ConsoleAddr())
	}
	for _, addr := range []string{s.CloudTasksAddr(), s.DatastoreAddr(), s.MemcachedAddr()} {
		if host, _, err := net.SplitHostPort(addr); err != nil || host != "127.0.0.1" {
			t.Errorf("address %s, want loopback", addr)
		}
	}
}

func TestTakenPort(t *testing.T) {
	for _, test := range []struct {
		flag string
		set  func(*emulator.Options, string)
	}{
		{"--cloud-tasks-addr", func(o *emulator.Options, a string) { o.CloudTasksAddr = a }},
		{"--datastore-addr", func(o *emulator.Options, a string) { o.DatastoreAddr = a }},
		{"--memcached-addr", func(o *emulator.Options, a string) { o.MemcachedAddr = a }},
		{"--console-addr", func(o *emulator.Options, a string) { o.ConsoleAddr = a }},
	} {
		n := pipenet.New()
		taken, err := n.Listen("127.0.0.1:7777")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		dir := filepath.Join(t.TempDir(), "data")
		o := &emulator.Options{Dir: dir, Listen: listenOn(n),
			CloudTasksAddr: "127.0.0.1:1", DatastoreAddr: "127.0.0.1:2", MemcachedAddr: "127.0.0.1:3", ConsoleAddr: "127.0.0.1:4"}
		test.set(o, "127.0.0.1:7777")
		_, err = emulator.Start(t.Context(), o)
		addr, ok := errors.AsType[*emulator.AddrError](err)
		if !ok || addr.Flag != test.flag || addr.Addr != "127.0.0.1:7777" || !errors.Is(err, syscall.EADDRINUSE) ||
			!strings.Contains(err.Error(), test.flag) || !strings.Contains(err.Error(), "7777") {
			t.Errorf("%s: %v, want an AddrError that names flag and port", test.flag, err)
		}
		for port := range 4 {
			l, err := n.Listen(fmt.Sprintf("127.0.0.1:%d", port+1))
			if err != nil {
				t.Errorf("%s: the failed start keeps a port: %v", test.flag, err)
				continue
			}
			l.Close()
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the failed start made the data folder (%v)", test.flag, err)
		}
	}
}

func listenOn(n *pipenet.Network) func(network, addr string) (net.Listener, error) {
	return func(_, addr string) (net.Listener, error) { return n.Listen(addr) }
}

func TestBadOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		o    emulator.Options
		want []string
	}{
		{"everywhere", emulator.Options{DatastoreAddr: ":8081"}, []string{"--datastore-addr", ":8081", "--allow-remote"}},
		{"IPv4 everywhere", emulator.Options{MemcachedAddr: "0.0.0.0:0"}, []string{"--memcached-addr", "0.0.0.0:0", "--allow-remote"}},
		{"IPv6 everywhere", emulator.Options{CloudTasksAddr: "[::]:0"}, []string{"--cloud-tasks-addr", "--allow-remote"}},
		{"a name", emulator.Options{ConsoleAddr: "host.example:80"}, []string{"--console-addr", "host.example:80", "--allow-remote"}},
		{"no port", emulator.Options{DatastoreAddr: "localhost"}, []string{"--datastore-addr", "localhost", "host:port"}},
		{"a named port", emulator.Options{DatastoreAddr: "localhost:http"}, []string{"--datastore-addr", `"http"`, "65535"}},
		{"fsync", emulator.Options{Fsync: "maybe"}, []string{`"maybe"`, "never, interval or always"}},
		{"data folder", emulator.Options{Dir: file}, []string{file}},
		{"memcached", emulator.Options{Memcached: &memcached.Options{MaxConns: -1}}, []string{"MaxConns", "-1"}},
		{"datastore", emulator.Options{Datastore: &datastore.Options{Concurrency: "x"}}, []string{`"x"`}},
		{"cloudtasks", emulator.Options{CloudTasks: &cloudtasks.Options{MaxInFlight: -1}}, []string{"-1"}},
		{"chaos", emulator.Options{Chaos: emulator.ChaosSettings{Duplicate: 2}}, []string{"duplicate is 2", "between 0 and 1"}},
		{"clock", emulator.Options{Advance: -time.Second}, []string{"-1s", "never goes back"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := emulator.Start(t.Context(), &test.o)
			if err == nil {
				s.Close()
				t.Fatal("started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestLoopbackNames(t *testing.T) {
	for _, addr := range []string{"localhost:1", "127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		s := start(t, &emulator.Options{DatastoreAddr: addr, Listen: listenOn(pipenet.New())})
		s.Close()
	}
	s := start(t, &emulator.Options{DatastoreAddr: "0.0.0.0:1", AllowRemote: true, Listen: listenOn(pipenet.New())})
	s.Close()
}

func TestCancelledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := emulator.Start(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// What was stored is there after a restart, each server in a folder of its own,
// and a folder serves one suite at a time.
func TestDataFolder(t *testing.T) {
	dir := t.TempDir()
	s := start(t, &emulator.Options{Dir: dir, Fsync: "never"})
	const queue = "projects/p/locations/us-central1/queues/q"
	if _, err := cloudtaskspb.NewCloudTasksClient(dial(t, s.CloudTasksAddr())).CreateQueue(t.Context(),
		&cloudtaskspb.CreateQueueRequest{Parent: "projects/p/locations/us-central1", Queue: &cloudtaskspb.Queue{Name: queue}}); err != nil {
		t.Fatal(err)
	}
	if _, err := pb.NewDatastoreClient(dial(t, s.DatastoreAddr())).Commit(t.Context(), &pb.CommitRequest{ProjectId: "p",
		Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: []*pb.Mutation{{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: key("x")}}}}}); err != nil {
		t.Fatal(err)
	}
	if other, err := emulator.Start(t.Context(), &emulator.Options{Dir: dir}); err == nil {
		other.Close()
		t.Error("a second suite opened the same folder")
	} else if !strings.Contains(err.Error(), dir) {
		t.Errorf("the second suite's error %q doesn't name the folder", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cloudtasks", "datastore"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	s = start(t, &emulator.Options{Dir: dir})
	stats := s.Stats()
	if len(stats.CloudTasks.Queues) != 1 || stats.CloudTasks.Queues[0].Name != queue {
		t.Errorf("queues after the restart: %+v", stats.CloudTasks.Queues)
	}
	if len(stats.Datastore.Kinds) != 1 || stats.Datastore.Kinds[0].Kind != "Thing" || stats.Datastore.Kinds[0].Entities != 1 {
		t.Errorf("kinds after the restart: %+v", stats.Datastore.Kinds)
	}
}

// failing is a listener whose Accept fails when told to.
type failing struct {
	net.Listener
	fail chan error
}

func (f failing) Accept() (net.Conn, error) { return nil, <-f.fail }

func TestServerThatStopsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		fail := make(chan error, 1)
		s := start(t, &emulator.Options{MemcachedAddr: "127.0.0.1:11211", ConsoleAddr: "127.0.0.1:80",
			Listen: func(_, addr string) (net.Listener, error) {
				l, err := n.Listen(addr)
				if addr == "127.0.0.1:11211" {
					return failing{l, fail}, err
				}
				return l, err
			}})
		broken := errors.New("the network card is gone")
		fail <- broken
		<-s.Done()
		if !errors.Is(s.Err(), broken) || !strings.Contains(s.Err().Error(), "memcached on 127.0.0.1:11211") {
			t.Errorf("Err: %v, want the server's name, address and cause", s.Err())
		}
		tr := &http.Transport{DialContext: n.DialContext}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("http://127.0.0.1/healthz")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 503 || !strings.Contains(string(body), "network card") {
			t.Errorf("/healthz: %d %q, want 503 and the cause", resp.StatusCode, body)
		}
	})
}

func TestConsoleShowsTheLastFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		s := start(t, &emulator.Options{CloudTasksAddr: "127.0.0.1:8123", ConsoleAddr: "127.0.0.1:80", Listen: listenOn(n)})
		conn, err := grpc.NewClient("passthrough:///"+s.CloudTasksAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return n.DialContext(ctx, "tcp", addr) }))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tasks, queue := cloudtaskspb.NewCloudTasksClient(conn), "projects/p/locations/l/queues/q"
		if _, err := tasks.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: "projects/p/locations/l", Queue: &cloudtaskspb.Queue{Name: queue}}); err != nil {
			t.Fatal(err)
		}
		// Without an address for App Engine each attempt fails.
		if _, err := tasks.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: &cloudtaskspb.Task{
			Name: queue + "/tasks/lost", MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		tr := &http.Transport{DialContext: n.DialContext}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("http://127.0.0.1/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(page), "<code>lost</code> INVALID_ARGUMENT(3): no address is configured") {
			t.Errorf("%v; the page doesn't show the failure:\n%s", err, page)
		}
	})
}

// The bubble ends only when nothing of the suite runs any more.
func TestCloseLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &emulator.Options{Dir: t.TempDir(), ConsoleAddr: "127.0.0.1:0", Listen: listenOn(pipenet.New())})
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		<-s.Done()
		if s.Err() != nil {
			t.Errorf("Err after Close: %v", s.Err())
		}
	})
}

func BenchmarkStart(b *testing.B) {
	for _, test := range []struct {
		name string
		dir  bool
	}{{"memory", false}, {"disk", true}} {
		b.Run(test.name, func(b *testing.B) {
			root := b.TempDir()
			for i := 0; b.Loop(); i++ {
				o := &emulator.Options{ConsoleAddr: "127.0.0.1:0"}
				if test.dir {
					o.Dir = filepath.Join(root, fmt.Sprint(i))
				}
				s, err := emulator.Start(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
