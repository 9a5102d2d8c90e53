package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	tasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The kinds of servers, in the order of the columns.
const (
	inMemory = iota
	onDisk
	bare
	kinds
)

// build makes the emulator.
func build(ctx context.Context, folder string) (binary string, err error) {
	binary = filepath.Join(folder, "latchwork")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	cmd.Dir = ".." // the repository: this is a module of its own
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building Latchwork: %w", err)
	}
	return binary, nil
}

// server is a running process.
type server struct {
	kind   int
	cmd    *exec.Cmd
	addr   string
	stderr bytes.Buffer
	client *tasks.Client
	ended  chan struct{} // closed when the process has
}

// start runs a server and returns when it has answered. dir is the data folder of
// one that is onDisk. The port that it chooses may be taken by another program
// before the server has it: then it chooses again.
func start(ctx context.Context, binary string, kind int, dir string, flags ...string) (s *server, err error) {
	for range 5 {
		if s, err = startOnce(ctx, binary, kind, dir, flags...); !errors.Is(err, errEnded) {
			break
		}
	}
	return s, err
}

var errEnded = errors.New("the server has ended")

func startOnce(ctx context.Context, binary string, kind int, dir string, flags ...string) (*server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{kind: kind, addr: l.Addr().String(), ended: make(chan struct{})}
	if err := l.Close(); err != nil {
		return nil, err
	}
	switch kind {
	case bare:
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		s.cmd = exec.CommandContext(ctx, self)
		s.cmd.Env = append(os.Environ(), bareAddr+"="+s.addr)
	default:
		args := []string{"emulator", "--cloud-tasks-addr", s.addr, "--datastore-addr", "127.0.0.1:0",
			"--memcached-addr", "127.0.0.1:0", "--console-addr", "off"}
		if kind == onDisk {
			args = append(args, "--data", dir)
		} else {
			args = append(args, "--ephemeral")
		}
		s.cmd = exec.CommandContext(ctx, binary, append(args, flags...)...)
		s.cmd.Dir = filepath.Dir(binary) // away from files of queues
	}
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for !s.answers(ctx) {
		select {
		case <-ctx.Done():
			s.stop()
			return nil, fmt.Errorf("%v did not answer: %w\n%s", s.cmd.Args, ctx.Err(), s.stderr.String())
		case <-s.ended:
			return nil, fmt.Errorf("%v: %w\n%s", s.cmd.Args, errEnded, s.stderr.String())
		case <-time.After(time.Millisecond):
		}
	}
	s.client, err = tasks.NewClient(context.WithoutCancel(ctx),
		option.WithEndpoint("passthrough:///"+s.addr), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// answers reports whether the port is open.
func (s *server) answers(ctx context.Context) bool {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// queue makes a queue, or changes it. The bare server takes anything.
func (s *server) queue(ctx context.Context, name string, rate float64, concurrent int32) error {
	_, err := s.client.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{Queue: &cloudtaskspb.Queue{
		Name:       name,
		RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: rate, MaxConcurrentDispatches: concurrent},
	}})
	return err
}

// stop ends the process and waits for it; politely, so that it stores its data.
func (s *server) stop() {
	s.end(os.Interrupt)
}

// goroutines ends the process in a way that makes it tell them.
func (s *server) goroutines() int {
	s.end(syscall.SIGQUIT)
	return strings.Count("\n"+s.stderr.String(), "\ngoroutine ")
}

func (s *server) end(signal os.Signal) {
	if s.client != nil {
		_ = s.client.Close()
	}
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// cpu is the processor time that the process has used: that of its threads, which
// the scheduler knows to the nanosecond. Threads of Go programs hardly ever end.
func (s *server) cpu() time.Duration {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		used, _, _ := strings.Cut(string(stat), " ")
		n, _ := strconv.ParseInt(used, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

// rss is the resident memory in bytes.
func (s *server) rss() int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// bareAddr, in the environment, makes this program a bare server there.
const bareAddr = "BENCH_CLOUDTASKS_BARE"

// nothing is the bare gRPC server.
type nothing struct {
	cloudtaskspb.UnimplementedCloudTasksServer
}

func (nothing) UpdateQueue(_ context.Context, r *cloudtaskspb.UpdateQueueRequest) (*cloudtaskspb.Queue, error) {
	return r.GetQueue(), nil
}

func (nothing) CreateTask(_ context.Context, r *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	return r.GetTask(), nil
}

// serveBare answers with nothing until the process is ended.
func serveBare(ctx context.Context, addr string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	cloudtaskspb.RegisterCloudTasksServer(s, nothing{})
	defer context.AfterFunc(ctx, s.Stop)()
	return s.Serve(l)
}

// poster sends bare requests in place of deliveries.
type poster struct{ http.Client }

func newPoster(n int) *poster {
	return &poster{http.Client{Transport: &http.Transport{MaxIdleConns: n, MaxIdleConnsPerHost: n}}}
}

func (p *poster) post(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(make([]byte, 100)))
	if err != nil {
		return err
	}
	answer, err := p.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}
