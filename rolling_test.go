package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	"google.golang.org/api/iterator"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
)

var rounds = flag.Int("rounds", 2, "how often TestRollingRestart replaces both of its workers")

// TestRollingRestart is a deploy under load, back and forth between two versions of
// which one can't do all that is enqueued: SIGTERM to each of two workers in turn,
// and the other version in its place. Every execution that was enqueued, plainly, by
// a transaction or by a handler's transaction, is committed once in the end: the
// effects, their sum and the ledger agree.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a rolling restart of whole processes takes half a minute; run without -short")
	}
	f := newFleet(t)
	f.start(t, 0, newVersion)
	f.start(t, 1, newVersion)

	loading, stopLoading := context.WithCancel(t.Context())
	defer stopLoading()
	var load sync.WaitGroup
	load.Go(func() { f.load(t, loading, f.enqueuePlainly) })
	load.Go(func() { f.load(t, loading, f.enqueueInTransactions) })
	for i := range *rounds {
		f.roll(t, []string{oldVersion, newVersion}[i%2])
	}
	stopLoading()
	load.Wait()
	if *rounds%2 == 1 {
		f.roll(t, newVersion) // who can do what is left
	}
	f.settle(t)
	books := f.books(t)
	f.stop(t, 0)
	f.stop(t, 1)

	t.Logf("%d SIGTERMs; books: %v; deliveries: %v", f.terminated, books, f.outcomes)
	for _, needed := range []handlers.Outcome{handlers.OutcomeUnknownClass, handlers.OutcomeNewerVersion, handlers.OutcomeShutdown} {
		if f.outcomes[needed.String()] == 0 {
			t.Errorf("no delivery ended as %v: the restart was not under load", needed)
		}
	}
}

// A fleet is two workers behind one front end, and the emulators in a process of
// their own.
type fleet struct {
	frontEnd
	queueHost, entityHost string
	env                   []string

	client   *tasks.Client
	entities *datastore.Client
	queue    *cloudtasks.Client

	workers    [2]*process
	outcomes   map[string]int // of the deliveries of workers that have ended
	terminated int

	next     atomic.Int64 // of the numbers of the load
	mu       sync.Mutex
	enqueued map[string]bool // executions, by id
	numbers  map[string]bool // effects that there should be, by key
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{outcomes: map[string]int{}, enqueued: map[string]bool{}, numbers: map[string]bool{}}
	emulators := start(t, nil, "emulator", "--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", "127.0.0.1:0",
		"--memcached-addr", "127.0.0.1:0", "--console-addr", "off", "--data", t.TempDir(),
		"--unlimited", "--chaos-duplicate", "0.05", "--seed", "11")
	for _, host := range []*string{&f.queueHost, &f.entityHost, new(string)} {
		assignment := strings.TrimPrefix(emulators.expect(t, "export "), "export ")
		f.env = append(f.env, assignment)
		_, *host, _ = strings.Cut(assignment, "=")
	}
	f.frontEnd.serve(t)

	var closeClient func() error
	var err error
	if f.client, closeClient, err = rollingClient(t.Context(), f.queueHost, f.entityHost, f.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeClient() })
	f.entities = f.client.Datastore()
	if f.queue, err = cloudtasks.NewClient(t.Context(), tasks.EmulatorOptions(f.queueHost)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.queue.Close() })
	const parent = "projects/latchwork-local/locations/local1"
	_, err = f.queue.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{
		Name: parent + "/queues/default", RateLimits: &cloudtaskspb.RateLimits{MaxConcurrentDispatches: 32},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// start runs a version of the worker in a place, until the front end finds it.
func (f *fleet) start(t *testing.T, place int, version string) {
	t.Helper()
	addr := freeAddr(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], version, addr, f.url)
	cmd.Env = append([]string{"LATCHWORK_TEST_WORKER=1", "HOME=" + t.TempDir()}, f.env...)
	f.workers[place] = launch(t, cmd)
	f.workers[place].expect(t, "worker: ready")
	f.set(place, addr)
}

// roll replaces one worker after the other, with commits before each SIGTERM.
func (f *fleet) roll(t *testing.T, version string) {
	t.Helper()
	for place := range f.workers {
		before := f.total(t)
		f.until(t, "commit more", func() bool { return f.total(t) >= before+100 })
		f.stop(t, place)
		f.start(t, place, version)
	}
}

// stop is the platform's: SIGTERM, and after 10 s kill -9. The status must be 0.
func (f *fleet) stop(t *testing.T, place int) {
	t.Helper()
	p := f.workers[place]
	f.terminated++
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(10*time.Second, func() {
		t.Error("SIGTERM was not answered within 10 s")
		if err := p.cmd.Process.Kill(); err != nil {
			t.Log(err)
		}
	})
	defer deadline.Stop()
	for line := range p.lines {
		var outcome string
		var n int
		if _, err := fmt.Sscanf(line, "outcome %s %d", &outcome, &n); err == nil {
			f.outcomes[outcome] += n
		}
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// load enqueues until ctx ends, never far ahead of the workers.
func (f *fleet) load(t *testing.T, ctx context.Context, enqueue func(*testing.T, ...credit)) {
	for ctx.Err() == nil {
		n := int(f.next.Add(10))
		var batch []credit
		for i := n - 10; i < n; i++ {
			c := credit{N: i}
			if i%200 == 0 {
				c.Slow = "stuck"
			}
			batch = append(batch, c)
		}
		enqueue(t, batch...)
		f.until(t, "keep up", func() bool {
			f.mu.Lock()
			ahead := len(f.numbers)
			f.mu.Unlock()
			return ctx.Err() != nil || ahead-f.total(t) < 800
		})
	}
}

// classFor mixes the load: an old credit, a bonus, and a new credit.
func classFor(c credit) tasks.Class[credit] {
	old, bonus, _ := rollingClasses(oldVersion)
	switch c.N % 3 {
	case 0:
		return old
	case 1:
		return bonus
	default:
		credits, _, _ := rollingClasses(newVersion)
		return credits
	}
}

func (f *fleet) enqueuePlainly(t *testing.T, batch ...credit) {
	for _, c := range batch {
		receipt, err := classFor(c).Enqueue(t.Context(), f.client, c, nil)
		if err != nil {
			t.Errorf("enqueue %d: %v", c.N, err)
			return
		}
		f.expectEffects(c, receipt)
	}
}

func (f *fleet) enqueueInTransactions(t *testing.T, batch ...credit) {
	receipts := make([]tasks.Receipt, len(batch))
	err := f.client.RunInTransaction(t.Context(), func(tx *tasks.Tx) (err error) {
		for i, c := range batch {
			if receipts[i], err = classFor(c).EnqueueTx(tx, c, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("enqueue %d and more: %v", batch[0].N, err)
		return
	}
	for i, c := range batch {
		f.expectEffects(c, receipts[i])
	}
}

func (f *fleet) expectEffects(c credit, r tasks.Receipt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enqueued[r.ID] = true
	class := classFor(c).Spec().Name
	f.numbers[fmt.Sprintf("%s/%d", class, c.N)] = true
	if class == "credit" {
		f.numbers[fmt.Sprintf("receipt/%d", c.N)] = true
	}
}

// total is the sum of the counters.
func (f *fleet) total(t *testing.T) int {
	var keys []*datastore.Key
	for i := range counters {
		keys = append(keys, datastore.IDKey("Total", int64(1+i), nil))
	}
	totals := make([]total, len(keys))
	err := f.entities.GetMulti(t.Context(), keys, totals)
	each, _ := errors.AsType[datastore.MultiError](err)
	if err != nil && (each == nil || slices.ContainsFunc(each, func(err error) bool {
		return err != nil && !errors.Is(err, datastore.ErrNoSuchEntity)
	})) {
		t.Errorf("read the counters: %v", err)
	}
	sum := 0
	for _, c := range totals {
		sum += c.N
	}
	return sum
}

// settle waits until nothing is left to do. The sweeper moves tasks from the outbox
// to the queue, so the queue is looked at on both sides.
func (f *fleet) settle(t *testing.T) {
	t.Helper()
	f.until(t, "settle", func() bool { return f.queueEmpty(t) && f.outboxEmpty(t) && f.queueEmpty(t) })
}

func (f *fleet) queueEmpty(t *testing.T) bool {
	_, err := f.queue.ListTasks(t.Context(), &cloudtaskspb.ListTasksRequest{
		Parent: "projects/latchwork-local/locations/local1/queues/default",
	}).Next()
	if err != nil && !errors.Is(err, iterator.Done) {
		t.Errorf("list tasks: %v", err)
	}
	return errors.Is(err, iterator.Done)
}

func (f *fleet) outboxEmpty(t *testing.T) bool {
	for _, err := range f.client.Outbox(t.Context(), 0) {
		if err != nil {
			t.Errorf("list the outbox: %v", err)
		}
		return false
	}
	return true
}

// rollingBooks are counted from what is stored.
type rollingBooks struct {
	enqueued, followed         int // executions: by the load, and by handlers
	effects, total, ledgerDone int
	dead                       int
}

// books compares sets: what should be there once, and what is there how often.
func (f *fleet) books(t *testing.T) rollingBooks {
	t.Helper()
	b := rollingBooks{enqueued: len(f.enqueued), total: f.total(t)}
	var effects []effect
	keys, err := f.entities.GetAll(t.Context(), datastore.NewQuery("Effect"), &effects)
	if err != nil {
		t.Fatal(err)
	}
	executions := maps.Clone(f.enqueued)
	missing := maps.Clone(f.numbers)
	for i, key := range keys {
		e := effects[i]
		if !missing[key.Name] || e.Count != 1 {
			t.Errorf("the effect of %s is there %d times; it was enqueued: %t", key.Name, e.Count, f.numbers[key.Name])
		}
		delete(missing, key.Name)
		b.effects++
		if e.Follow != "" {
			b.followed++
			executions[e.Follow] = true
		}
	}
	for name := range missing {
		t.Errorf("%s was enqueued and has no effect", name)
	}

	var rows []datastore.PropertyList
	keys, err = f.entities.GetAll(t.Context(), datastore.NewQuery(handlers.LedgerKind), &rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		id, _, _ := strings.Cut(key.Name, ".")
		if done := slices.ContainsFunc(rows[i], func(p datastore.Property) bool { return p.Name == "State" && p.Value == "done" }); !done || !executions[id] {
			t.Errorf("the ledger has %v for %s; it was enqueued: %t", rows[i], key.Name, executions[id])
		}
		delete(executions, id)
		b.ledgerDone++
	}
	for id := range executions {
		t.Errorf("execution %s is not in the ledger", id)
	}
	for letter, err := range handlers.NewDeadLetters(f.client).List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("a dead letter: %s, %s: %s", letter.Class, letter.Reason, letter.Error)
		b.dead++
	}
	if b.total != b.effects || b.ledgerDone != b.effects || b.effects != b.enqueued+b.followed {
		t.Errorf("the books don't agree: %+v", b)
	}
	return b
}

func (b rollingBooks) String() string {
	return fmt.Sprintf("%d executions enqueued and %d by handlers; %d effects, each once; %d counted; %d done in the ledger; %d dead letters",
		b.enqueued, b.followed, b.effects, b.total, b.ledgerDone, b.dead)
}

// until polls.
func (f *fleet) until(t *testing.T, what string, done func() bool) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(3 * time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Errorf("the workers did not %s in 3 minutes", what)
			return
		}
	}
}

// A frontEnd is one address in front of two workers. It asks each for its health,
// and passes requests on to healthy ones in turn.
type frontEnd struct {
	url   string
	turn  atomic.Uint64
	place [2]atomic.Pointer[backend]
}

type backend struct {
	addr  string
	proxy *httputil.ReverseProxy
	up    atomic.Bool
}

func (f *frontEnd) serve(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() { defer close(ended); f.watch(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
}

// set puts the worker at addr in a place; it gets requests once it is healthy.
func (f *frontEnd) set(place int, addr string) {
	f.place[place].Store(&backend{addr: addr, proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: addr}) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}})
}

func (f *frontEnd) watch(ctx context.Context) {
	client := &http.Client{Timeout: time.Second}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		for i := range f.place {
			if b := f.place[i].Load(); b != nil {
				b.up.Store(b.healthy(ctx, client))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *backend) healthy(ctx context.Context, client *http.Client) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.addr+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// ServeHTTP passes r on; without a healthy worker it answers as Cloud Run does
// when it has no instance.
func (f *frontEnd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := f.turn.Add(1)
	for i := range uint64(len(f.place)) {
		if b := f.place[(n+i)%uint64(len(f.place))].Load(); b != nil && b.up.Load() {
			b.proxy.ServeHTTP(w, r)
			return
		}
	}
	w.WriteHeader(http.StatusInternalServerError)
}
