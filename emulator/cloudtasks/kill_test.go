package cloudtasks_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

// serveDir, in the environment of the test binary, makes it a server on this
// folder that prints its address and runs until it is killed.
const serveDir = "CLOUDTASKS_TEST_SERVE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveDir); dir != "" {
		fmt.Fprintln(os.Stderr, serveUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func serveUntilKilled(dir string) error {
	server, err := cloudtasks.New(&cloudtasks.Options{Dir: dir, Unlimited: true})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() { // the test ended without killing this process
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	return server.Serve(l)
}

// A process is a server in a process of its own.
type process struct {
	cmd    *exec.Cmd
	client *tasks.Client
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), serveDir+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return &process{cmd, dialTasks(t, strings.TrimSpace(addr))}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // reports the kill
}

// A worker counts what it has been asked to do and what it has done.
type worker struct {
	url  string
	mu   sync.Mutex
	seen map[string]int  // requests by task id
	done map[string]bool // answered 200
	slow chan struct{}   // requests for /slow wait for it
}

func startWorker(t *testing.T) *worker {
	w := &worker{seen: map[string]int{}, done: map[string]bool{}, slow: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	w.url = "http://" + l.Addr().String()
	return w
}

func (w *worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-CloudTasks-TaskName")
	io.Copy(io.Discard, r.Body)
	w.mu.Lock()
	w.seen[id]++
	first := w.seen[id] == 1
	w.mu.Unlock()
	if r.URL.Path == "/slow" {
		select {
		case <-w.slow:
		case <-r.Context().Done():
			return
		}
	}
	if r.URL.Path == "/flaky" && first {
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.mu.Lock()
	w.done[id] = true
	w.mu.Unlock()
}

// Lives of a server on one folder: each but the last is killed while clients create and
// the worker works. In the end the set of tasks that were acknowledged must be
// within the set of those that were done, and all their names must be taken.
func TestKilledServerLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx := t.Context()
	dir := t.TempDir()
	w := startWorker(t)
	request := func(id, path string) *cloudtaskspb.CreateTaskRequest {
		return &cloudtaskspb.CreateTaskRequest{Parent: queue1, Task: &cloudtaskspb.Task{
			Name: queue1 + "/tasks/" + id,
			MessageType: &cloudtaskspb.Task_HttpRequest{
				HttpRequest: &cloudtaskspb.HttpRequest{Url: w.url + path, Body: []byte(id)},
			},
		}}
	}

	p := startProcess(t, dir)
	if _, err := p.client.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: &cloudtaskspb.Queue{
		Name: queue1, RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(10 * time.Millisecond), MaxBackoff: durationpb.New(50 * time.Millisecond)},
	}}); err != nil {
		t.Fatal(err)
	}
	// Deleted and held-up tasks, whose fate must be remembered.
	later := request("deleted", "/")
	later.Task.ScheduleTime = timestamppb.New(time.Now().Add(time.Hour))
	if _, err := p.client.CreateTask(ctx, later); err != nil {
		t.Fatal(err)
	}
	if err := p.client.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: later.Task.Name}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.CreateTask(ctx, request("slow", "/slow")); err != nil {
		t.Fatal(err)
	}
	w.until(t, func() bool { return w.seen["slow"] > 0 })

	acknowledged := map[string]bool{"slow": true}
	const lives, callers, enough = 3, 8, 250
	for life := range lives {
		var mu sync.Mutex
		var wg sync.WaitGroup
		var count atomic.Int64
		reached := make(chan struct{})
		for caller := range callers {
			wg.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("t-%d-%d-%d", life, caller, i)
					if _, err := p.client.CreateTask(ctx, request(id, []string{"/", "/flaky"}[i%2])); err != nil {
						return // the kill
					}
					mu.Lock()
					acknowledged[id] = true
					mu.Unlock()
					if count.Add(1) == enough {
						close(reached)
					}
				}
			})
		}
		<-reached
		p.kill(t)
		wg.Wait()
		p = startProcess(t, dir)
	}
	w.until(t, func() bool { return w.seen["slow"] > 1 }) // delivered again after a kill
	close(w.slow)

	w.until(t, func() bool {
		for id := range acknowledged {
			if !w.done[id] {
				return false
			}
		}
		return true
	})
	w.mu.Lock()
	deliveries, again := 0, 0
	for id, n := range maps.All(w.seen) {
		deliveries += n
		if n > 1 && !strings.HasPrefix(id, "slow") {
			again++
		}
	}
	w.mu.Unlock()
	t.Logf("%d tasks acknowledged over %d kills, all done in %d deliveries; %d were delivered more than once (half of them fail at first)",
		len(acknowledged), lives, deliveries, again)

	acknowledged["deleted"] = true
	for id := range acknowledged {
		// A result that was in flight when its process was killed is not recorded
		// yet, but soon: the task is delivered again.
		for {
			_, err := p.client.CreateTask(ctx, request(id, "/"))
			if status.Code(err) != codes.AlreadyExists {
				t.Fatalf("the name %s can be used again: %v", id, err)
			}
			_, err = p.client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: queue1 + "/tasks/" + id})
			if status.Code(err) == codes.NotFound {
				if !strings.Contains(err.Error(), "existed recently") {
					t.Errorf("%s is forgotten: %v", id, err)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen["deleted"] > 0 {
		t.Error("a deleted task was delivered")
	}
}

// until waits for a condition on the worker's books.
func (w *worker) until(t *testing.T, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("no progress for a minute"))
	defer cancel()
	for {
		w.mu.Lock()
		ok := f()
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}
