package migration_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/examples/migration"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks"
)

const page = "../../docs/migration.md"

// What the page shows of ours is code of this package, and so compiles: its blocks to
// the letter, and the code of its columns "after" up to spaces.
func TestThePageIsThisCode(t *testing.T) {
	text, source := read(t, page), read(t, "tasks.go")+read(t, "locks.go")
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	for _, b := range blocks {
		if !strings.Contains(source, strings.TrimSpace(b[1])) {
			t.Errorf("a block is not code of this package:\n%s", b[1])
		}
	}
	cells := 0
	inAfter := false
	code := regexp.MustCompile("`[^`]+`")
	for line := range strings.Lines(text) {
		columns := strings.Split(strings.TrimSpace(line), "|")
		switch {
		case len(columns) < 4:
			inAfter = false
		case strings.TrimSpace(columns[2]) == "after":
			inAfter = true
		case inAfter:
			for _, c := range code.FindAllString(columns[2], -1) {
				cells++
				if c = strings.Trim(c, "`"); !strings.Contains(source, c) {
					t.Errorf("the column \"after\" has code that this package doesn't have: %s", c)
				}
			}
		}
	}
	if len(blocks) < 5 || cells < 15 {
		t.Errorf("found %d blocks and %d pieces of code: the test reads the page no more", len(blocks), cells)
	}
	if others := regexp.MustCompile("(?m)^```[a-z]+").FindAllString(text, -1); slices.ContainsFunc(others, func(s string) bool { return s != "```go" && s != "```sh" && s != "```yaml" }) {
		t.Errorf("blocks of %q are held by no test", others)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// And it does what the page says.
func TestMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		client, err := tasks.NewClient(e.Datastore, e.Tasks, &tasks.ClientOptions{Project: e.Project, Location: e.Location, URL: "http://worker.example"})
		if err != nil {
			t.Fatal(err)
		}
		var deliveries handlers.Counters
		server, err := handlers.New(client, memlock.New(memlocktest.NewStore(), nil), anybody{}, migration.Handlers(), &handlers.Options{Observer: &deliveries})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range server.Queues() {
			e.CreateQueue(q, nil)
		}
		e.ServeHTTP("worker.example:80", server)

		if err := migration.SignUp(t.Context(), client, "ada", "grace"); err != nil {
			t.Fatal(err)
		}
		for again := range 2 {
			if duplicate, err := migration.Enqueued(t.Context(), client); err != nil || duplicate != (again == 1) {
				t.Fatalf("call %d: duplicate %t, %v", again+1, duplicate, err)
			}
		}
		for range 2 { // an old task that is delivered twice
			r := httptest.NewRequest(http.MethodPost, "/worker?to=nobody", nil)
			if w := bridged(t, client, r); w != http.StatusForbidden {
				t.Errorf("a stranger at the bridge is answered %d", w)
			}
			r.Header.Set("X-AppEngine-QueueName", "old")
			r.Header.Set("X-AppEngine-TaskName", "12345")
			if w := bridged(t, client, r); w != http.StatusOK {
				t.Errorf("the bridge answers %d", w)
			}
		}
		if _, err := migration.Import.Enqueue(t.Context(), client, migration.File{}, nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ada", "grace"} {
			var u migration.User
			if err := e.Datastore.Get(t.Context(), datastore.NameKey("User", name, nil), &u); err != nil || !u.Welcomed {
				t.Errorf("%s: %+v, %v", name, u, err)
			}
		}
		for outcome, want := range map[handlers.Outcome]int64{
			handlers.OutcomeCommitted: 2 + 5, // of SignUp, and of Enqueued without the second name
			handlers.OutcomeCancelled: 1, handlers.OutcomeDead: 1,
		} {
			if n := deliveries.Count(outcome); n != want {
				t.Errorf("%v: %d, want %d", outcome, n, want)
			}
		}
	})
}

func bridged(t *testing.T, client *tasks.Client, r *http.Request) int {
	t.Helper()
	w := httptest.NewRecorder()
	migration.Bridge(client)(w, r.WithContext(t.Context()))
	return w.Code
}

type anybody struct{}

func (anybody) Verify(*http.Request) (handlers.Caller, error) { return handlers.Caller{}, nil }

func TestLocks(t *testing.T) {
	store := memlocktest.NewStore()
	ctx := memlock.NewContext(t.Context(), memlock.New(store, nil))
	calls := 0
	nested := func(locker *memlock.Locker) error {
		ctx := memlock.NewContext(ctx, locker)
		return migration.Exclusively(ctx, "shard", "request-1", func(ctx context.Context) error {
			return migration.Exclusively(ctx, "shard", "request-1", func(context.Context) error { calls++; return nil })
		})
	}
	if err := nested(memlock.New(store, nil)); err != nil || calls != 0 {
		t.Errorf("a second call of the same ID: %d calls, %v", calls, err)
	}
	if err := nested(migration.Reentrant(store)); err != nil || calls != 1 {
		t.Errorf("the same with Reentrant: %d calls, %v", calls, err)
	}
	store.SetOutage(errors.New("gone"))
	if err := migration.Exclusively(ctx, "shard", "request-2", func(context.Context) error { calls++; return nil }); err != nil || calls != 2 {
		t.Errorf("in an outage: %d calls, %v", calls, err)
	}
	if _, err := migration.WithLocks(ctx); err == nil {
		t.Error("no server is no error")
	}
}

func TestVisit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulatortest.Start(t, nil)
		for want := range uint64(3) {
			if n, err := migration.Visit(e.Memcache, "/"); n != want+1 || err != nil {
				t.Errorf("visit %d is counted as %d, %v", want+1, n, err)
			}
		}
	})
}
