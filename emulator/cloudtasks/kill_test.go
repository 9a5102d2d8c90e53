package cloudtasks_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
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
	v2beta2 "cloud.google.com/go/cloudtasks/apiv2beta2"
	v2beta2pb "cloud.google.com/go/cloudtasks/apiv2beta2/cloudtaskspb"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
)

var kills = flag.Int("kills", 3, "how often TestKillLoop kills the server under load")

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
	pull   *v2beta2.Client
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
	addr = strings.TrimSpace(addr)
	pull, err := v2beta2.NewClient(context.Background(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())), option.WithTelemetryDisabled())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pull.Close() })
	return &process{cmd, dialTasks(t, addr), pull}
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
	url   string
	mu    sync.Mutex
	seen  map[string]int  // requests by task id
	done  map[string]bool // answered 200
	paths map[string]string
}

func startWorker(t *testing.T) *worker {
	w := &worker{seen: map[string]int{}, done: map[string]bool{}, paths: map[string]string{}}
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
	w.paths[id] = r.URL.Path
	first := w.seen[id] == 1
	w.mu.Unlock()
	if r.URL.Path == "/flaky" && first {
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.mu.Lock()
	w.done[id] = true
	w.mu.Unlock()
}

// The queues of the loop: tasks are delivered, wait for an hour, or are leased.
const (
	pushQueue = queue1
	waitQueue = location + "/queues/waits"
	pullQueue = location + "/queues/pull"
)

// books are what the clients of the loop know. A call that was cut short by a
// kill may have had its effect or not: its task is only in asked, or in doubt.
type books struct {
	mu    sync.Mutex
	asked map[string]bool // names whose creation was called for
	push  map[string]bool // acknowledged creations, by id
	wait  map[string]bool
	pull  map[string]bool
	gone  map[string]bool // acknowledged deletions and acknowledgements, by name
	doubt map[string]bool // of deletions and acknowledgements
	batch map[string]int  // tasks of each batch that was acknowledged
	calls atomic.Int64    // that succeeded
}

func newBooks() *books {
	b := new(books)
	for _, m := range []*map[string]bool{&b.asked, &b.push, &b.wait, &b.pull, &b.gone, &b.doubt} {
		*m = make(map[string]bool)
	}
	b.batch = make(map[string]int)
	return b
}

func (b *books) enter(m map[string]bool, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m[key] = true
}

// A caller works on a server until a call fails, which is when it was killed.
type caller struct {
	*books
	p      *process
	url    string
	random *rand.Rand
	name   string // of the caller in this life
	n      int
	retry  *cloudtaskspb.BatchCreateTasksRequest // a batch whose answer never came
}

func (c *caller) work(ctx context.Context) error {
	for {
		c.n++
		id := fmt.Sprintf("%s-%d", c.name, c.n)
		var err error
		switch c.random.IntN(8) {
		case 0, 1, 2:
			err = c.create(ctx, pushQueue, id, []string{"/", "/flaky"}[c.n%2], c.push)
		case 3, 4:
			err = c.create(ctx, waitQueue, id, "/early", c.wait)
		case 5:
			if err = c.create(ctx, waitQueue, id, "/deleted", make(map[string]bool)); err == nil {
				err = c.remove(ctx, waitQueue+"/tasks/"+id)
			}
		case 6:
			err = c.batches(ctx, id)
		case 7:
			err = c.lease(ctx, id)
		}
		if err != nil {
			return err
		}
		c.calls.Add(1)
	}
}

func (c *caller) create(ctx context.Context, queue, id, path string, made map[string]bool) error {
	c.enter(c.asked, id)
	t := &cloudtaskspb.Task{
		Name: queue + "/tasks/" + id,
		MessageType: &cloudtaskspb.Task_HttpRequest{
			HttpRequest: &cloudtaskspb.HttpRequest{Url: c.url + path, Body: []byte(id)},
		},
	}
	if queue == waitQueue {
		t.ScheduleTime = timestamppb.New(time.Now().Add(time.Hour))
	}
	_, err := c.p.client.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: t})
	if err == nil {
		c.enter(made, id)
	}
	return err
}

func (c *caller) remove(ctx context.Context, name string) error {
	c.enter(c.doubt, name)
	err := c.p.client.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: name})
	if err == nil {
		c.enter(c.gone, name)
	}
	return err
}

// batches creates a batch of tasks without names. One that was cut short is asked
// for again, by its id, in the next life.
func (c *caller) batches(ctx context.Context, id string) error {
	r := c.retry
	if r == nil {
		r = &cloudtaskspb.BatchCreateTasksRequest{Parent: waitQueue, RequestId: id}
		for i := range 1 + c.random.IntN(5) {
			r.Requests = append(r.Requests, &cloudtaskspb.CreateTaskRequest{Parent: waitQueue, Task: &cloudtaskspb.Task{
				ScheduleTime: timestamppb.New(time.Now().Add(time.Hour)),
				MessageType: &cloudtaskspb.Task_HttpRequest{
					HttpRequest: &cloudtaskspb.HttpRequest{Url: c.url + "/early", Body: fmt.Appendf(nil, "batch %s/%d", id, i)},
				},
			}})
		}
	}
	c.retry = r
	if _, err := c.p.client.BatchCreateTasks(ctx, r); err != nil {
		return err
	}
	c.retry = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batch[r.GetRequestId()] = len(r.GetRequests())
	return nil
}

// lease creates a pull task, leases one or two and acknowledges the first.
func (c *caller) lease(ctx context.Context, id string) error {
	c.enter(c.asked, id)
	_, err := c.p.pull.CreateTask(ctx, &v2beta2pb.CreateTaskRequest{Parent: pullQueue, Task: &v2beta2pb.Task{
		Name:        pullQueue + "/tasks/" + id,
		PayloadType: &v2beta2pb.Task_PullMessage{PullMessage: &v2beta2pb.PullMessage{Payload: []byte(id)}},
	}})
	if err != nil {
		return err
	}
	c.enter(c.pull, id)
	leased, err := c.p.pull.LeaseTasks(ctx, &v2beta2pb.LeaseTasksRequest{
		Parent: pullQueue, MaxTasks: 2, LeaseDuration: durationpb.New(time.Hour),
	})
	if err != nil || len(leased.GetTasks()) == 0 {
		return err
	}
	first := leased.GetTasks()[0]
	c.mu.Lock()
	again := c.gone[first.GetName()]
	c.mu.Unlock()
	if again {
		return fmt.Errorf("%s was leased after it was acknowledged", first.GetName())
	}
	c.enter(c.doubt, first.GetName())
	err = c.p.pull.AcknowledgeTask(ctx, &v2beta2pb.AcknowledgeTaskRequest{Name: first.GetName(), ScheduleTime: first.GetScheduleTime()})
	if err == nil {
		c.enter(c.gone, first.GetName())
	}
	return err
}

// Lives of a server on one folder: each but the last is killed while clients
// create, delete, lease and repeat, and the worker works. In the end nothing
// that was acknowledged is lost, nothing is there that nobody asked for, and the
// names of all that ended are taken.
//
//	go test ./emulator/cloudtasks -run TestKillLoop -kills 200
func TestKillLoop(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, dir, w, b := t.Context(), t.TempDir(), startWorker(t), newBooks()
	p := startProcess(t, dir)
	makeQueues(t, p)
	const callers = 8
	random := rand.New(rand.NewPCG(1, uint64(*kills)))
	all := make([]*caller, callers)
	for i := range all {
		all[i] = &caller{books: b, url: w.url, random: rand.New(rand.NewPCG(2, uint64(i)))}
	}
	for life := range *kills {
		var wg sync.WaitGroup
		var killed atomic.Bool
		alive, cancel := context.WithCancel(ctx)
		b.calls.Store(0)
		for i, c := range all {
			c.p, c.name, c.n = p, fmt.Sprintf("t-%d-%d", life, i), 0
			wg.Go(func() {
				if err := c.work(alive); !killed.Load() {
					t.Errorf("before the kill: %v", err)
					b.calls.Store(1 << 40)
				}
			})
		}
		enough := int64(10 + random.IntN(150))
		w.until(t, func() bool { return b.calls.Load() >= enough })
		killed.Store(true)
		p.kill(t)
		cancel() // or clients would wait for the next life
		wg.Wait()
		if t.Failed() {
			return
		}
		p = startProcess(t, dir)
	}
	for _, c := range all { // what was cut short is asked for again
		if c.p = p; c.retry != nil {
			if err := c.batches(ctx, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.until(t, func() bool {
		for id := range b.push {
			if !w.done[id] {
				return false
			}
		}
		return true
	})
	t.Logf("%d kills; acknowledged: %d tasks delivered, %d and %d batches that wait, %d pull tasks, %d ends",
		*kills, len(b.push), len(b.wait), len(b.batch), len(b.pull), len(b.gone))
	b.balanceWaiting(t, p)
	b.balancePull(t, p)
	b.balanceNames(t, p)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.seen {
		if !b.asked[id] {
			t.Errorf("a task that nobody asked for was delivered: %s", id)
		}
		if b.wait[id] || strings.Contains(w.paths[id], "deleted") {
			t.Errorf("a task was delivered early: %s", id)
		}
	}
}

func makeQueues(t *testing.T, p *process) {
	t.Helper()
	for _, name := range []string{pushQueue, waitQueue} {
		if _, err := p.client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: location, Queue: &cloudtaskspb.Queue{
			Name: name, RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(10 * time.Millisecond), MaxBackoff: durationpb.New(50 * time.Millisecond)},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.pull.CreateQueue(t.Context(), &v2beta2pb.CreateQueueRequest{Parent: location, Queue: &v2beta2pb.Queue{
		Name: pullQueue, TargetType: &v2beta2pb.Queue_PullTarget{PullTarget: new(v2beta2pb.PullTarget)},
	}}); err != nil {
		t.Fatal(err)
	}
}

// balanceWaiting compares the tasks that wait with the books: those that were
// acknowledged once each, a batch whole, and those in doubt at most once.
func (b *books) balanceWaiting(t *testing.T, p *process) {
	t.Helper()
	there, members := make(map[string]bool), make(map[string]int)
	seen := make(map[string]bool)
	for it := p.client.ListTasks(t.Context(), &cloudtaskspb.ListTasksRequest{Parent: waitQueue, ResponseView: cloudtaskspb.Task_FULL}); ; {
		task, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body := string(task.GetHttpRequest().GetBody())
		if seen[body] {
			t.Errorf("a task was created twice: %s", body)
		}
		seen[body] = true
		if batch, ok := strings.CutPrefix(body, "batch "); ok {
			batch, _, _ = strings.Cut(batch, "/")
			members[batch]++
			continue
		}
		there[body] = true
		if !b.asked[body] {
			t.Errorf("a task that nobody asked for: %s", body)
		}
		if b.gone[task.GetName()] {
			t.Errorf("a deleted task is there: %s", body)
		}
	}
	for id := range b.wait {
		if !there[id] {
			t.Errorf("a task that was acknowledged is lost: %s", id)
		}
	}
	for id, n := range b.batch {
		if members[id] != n {
			t.Errorf("%d tasks of batch %s, want %d", members[id], id, n)
		}
	}
	for id := range members {
		if b.batch[id] == 0 {
			t.Errorf("a batch that nobody knows: %s", id)
		}
	}
}

// balancePull does the same for pull tasks.
func (b *books) balancePull(t *testing.T, p *process) {
	t.Helper()
	there := make(map[string]bool)
	for it := p.pull.ListTasks(t.Context(), &v2beta2pb.ListTasksRequest{Parent: pullQueue}); ; {
		task, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		id := task.GetName()[len(pullQueue+"/tasks/"):]
		there[id] = true
		if !b.asked[id] || b.gone[task.GetName()] {
			t.Errorf("a pull task that was not asked for or is acknowledged: %s", id)
		}
	}
	for id := range b.pull {
		if !there[id] && !b.doubt[pullQueue+"/tasks/"+id] {
			t.Errorf("a pull task is lost: %s", id)
		}
	}
}

// balanceNames tries to use names again.
func (b *books) balanceNames(t *testing.T, p *process) {
	t.Helper()
	names := make(map[string]bool)
	for id := range b.push {
		names[pushQueue+"/tasks/"+id] = true
	}
	for name := range b.gone {
		names[name] = true
	}
	for name := range names {
		queue, _, _ := strings.Cut(name, "/tasks/")
		var err error
		if queue == pullQueue {
			_, err = p.pull.CreateTask(t.Context(), &v2beta2pb.CreateTaskRequest{Parent: queue, Task: &v2beta2pb.Task{
				Name: name, PayloadType: &v2beta2pb.Task_PullMessage{PullMessage: new(v2beta2pb.PullMessage)},
			}})
		} else {
			task := post("")
			task.Name = name
			_, err = p.client.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: task})
		}
		if status.Code(err) != codes.AlreadyExists {
			t.Errorf("the name %s can be used again: %v", name, err)
		}
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
