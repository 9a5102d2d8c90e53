package main

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/tasks"
)

// TestKill is the promise tried on processes: memcached, the worker and the
// emulators are killed with kill -9 in mid-run, each several times, and restarted.
// The books, counted from what is stored, show that nothing acknowledged was lost
// and nothing was committed twice.
//
// It takes real time, since processes have no fake clock; it asserts none.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: kill -9 of whole processes takes half a minute; run without -short")
	}
	const recipients, unknown = 400, 20
	w := newWorld(t)
	w.startAll(t)

	app := w.app(t)
	var known, to []string
	for i := range recipients {
		name := fmt.Sprintf("user-%03d", i)
		to = append(to, name)
		if i >= unknown {
			known = append(known, name)
		}
	}
	if err := app.AddUsers(t.Context(), append(known, "sender")...); err != nil {
		t.Fatal(err)
	}
	message, err := app.Send(t.Context(), "sender", to, "does it survive?")
	if err != nil {
		t.Fatal(err)
	}

	// Each kill waits for progress since the last one, so that there is always
	// work under way.
	kills := 0
	kill := func(p **process, start func(*testing.T) *process) {
		w.progress(t, app, message)
		(*p).kill(t)
		*p = start(t)
		kills++
	}
	for range 2 {
		kill(&w.worker, w.startWorker)
		kill(&w.memcached, w.startMemcached)
		kill(&w.emulators, w.startEmulators)
	}

	books := w.settled(t, app, message)
	if err := books.Balanced(); err != nil {
		t.Errorf("after %d kills: %v", kills, err)
	}
	if books.Receipts != recipients-unknown || books.Failures != unknown {
		t.Errorf("after %d kills: %d receipts and %d failures, want %d and %d", kills, books.Receipts, books.Failures, recipients-unknown, unknown)
	}
	t.Logf("%d kills; books: %+v", kills, books)
}

// world is three processes and where they stand.
type world struct {
	data                                              string
	tasksAddr, datastoreAddr, memcachedAddr, httpAddr string
	env                                               []string

	emulators, memcached, worker *process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{data: t.TempDir()}
	for _, addr := range []*string{&w.tasksAddr, &w.datastoreAddr, &w.memcachedAddr, &w.httpAddr} {
		*addr = freeAddr(t)
	}
	w.env = []string{"CLOUD_TASKS_EMULATOR_HOST=" + w.tasksAddr, "DATASTORE_EMULATOR_HOST=" + w.datastoreAddr, "MEMCACHE_ADDRS=" + w.memcachedAddr}
	return w
}

// freeAddr is a port that was free a moment ago: a killed server comes back to its
// own port, so the kernel can't pick a new one each time.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) startAll(t *testing.T) {
	t.Helper()
	w.memcached = w.startMemcached(t)
	w.emulators = w.startEmulators(t)
	w.worker = w.startWorker(t)
}

// startEmulators runs Cloud Tasks and Datastore, durable in w.data. Locks of a
// killed worker's transactions are bounded by the idle limit.
func (w *world) startEmulators(t *testing.T) *process {
	t.Helper()
	p := start(t, nil, "emulator", "--cloud-tasks-addr", w.tasksAddr, "--datastore-addr", w.datastoreAddr,
		"--memcached-addr", "127.0.0.1:0", "--console-addr", "off", "--data", w.data,
		"--datastore-transaction-idle", "3s", "--chaos-duplicate", "0.1", "--seed", "7")
	p.expect(t, "now running")
	return p
}

// startMemcached runs a process of which only the memcached is used.
func (w *world) startMemcached(t *testing.T) *process {
	t.Helper()
	p := start(t, nil, "emulator", "--memcached-addr", w.memcachedAddr, "--cloud-tasks-addr", "127.0.0.1:0",
		"--datastore-addr", "127.0.0.1:0", "--console-addr", "off", "--ephemeral")
	p.expect(t, "now running")
	return p
}

func (w *world) startWorker(t *testing.T) *process {
	t.Helper()
	p := start(t, w.env, "serve", "--addr", w.httpAddr, "--timeout", "60s", "--reminder", "1s", "--grace", "3s", "--sweep", "2s")
	p.expect(t, "latchwork: worker")
	return p
}

// app is the example as a client: it sends and reads, the worker does the rest.
func (w *world) app(t *testing.T) *messages.App {
	t.Helper()
	ds, err := datastore.NewClient(t.Context(), "latchwork-local", tasks.EmulatorOptions(w.datastoreAddr)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	queue, err := cloudtasks.NewClient(t.Context(), tasks.EmulatorOptions(w.tasksAddr)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queue.Close() })
	url := "http://" + w.httpAddr
	client, err := tasks.NewClient(ds, queue, &tasks.ClientOptions{
		Project: "latchwork-local", Location: "local1", URL: url,
		ServiceAccount: "worker@latchwork-local.iam.gserviceaccount.com", Audience: url,
	})
	if err != nil {
		t.Fatal(err)
	}
	app, err := messages.New(&messages.Options{Client: client, Slot: time.Second, Timeout: time.Minute, Reminder: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// progress waits until the books have moved since it was called, or are closed.
func (w *world) progress(t *testing.T, app *messages.App, message string) {
	t.Helper()
	before, ok := w.books(t, app, message)
	w.until(t, app, message, "move", func(b messages.Books) bool {
		return ok && b != before || b.Balanced() == nil
	})
}

// settled waits until the books balance, then until nothing is due any more.
func (w *world) settled(t *testing.T, app *messages.App, message string) messages.Books {
	t.Helper()
	return w.until(t, app, message, "balance", func(b messages.Books) bool { return b.Balanced() == nil })
}

// until polls the books; an emulator that has just been killed cannot tell.
func (w *world) until(t *testing.T, app *messages.App, message, what string, done func(messages.Books) bool) messages.Books {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last messages.Books
	for limit := time.After(3 * time.Minute); ; {
		if b, ok := w.books(t, app, message); ok {
			if last = b; done(b) {
				return b
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the books did not %s: %+v (%v)", what, last, last.Balanced())
		}
	}
}

func (w *world) books(t *testing.T, app *messages.App, message string) (messages.Books, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	b, err := app.Books(ctx, message)
	return b, err == nil
}
