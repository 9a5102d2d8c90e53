package function

import (
	"bytes"
	"context"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/datastore"
	_ "github.com/GoogleCloudPlatform/functions-framework-go/funcframework" // what the builder's main links is pinned in go.mod by this

	"github.com/latchwork/latchwork/emulator"
	emulatedtasks "github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/examples/messages"
	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/internal/rehearsal"
	"github.com/latchwork/latchwork/tasks"
)

// mainOfBuildpack is the program that Cloud Functions' builder writes around a
// function whose module requires the framework.
const mainOfBuildpack = `// Binary main serves the function.
package main

import (
	"log"
	"os"

	_ "PACKAGE"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	if err := funcframework.Start(port); err != nil {
		log.Fatalf("funcframework.Start: %v\n", err)
	}
}
`

// build does with the staged tree what Google's buildpack for functions does, with
// what this machine has: nothing is fetched.
func build(t *testing.T) (program string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "staged")
	goes := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOPROXY=off", "GOTOOLCHAIN=local", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	goes("..", "run", "./deploy", "stage", "function", dir)

	// The builder parses the package clause of every Go file at the root, whatever
	// its build tags: there must be one package, and not main.
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("the staged tree has no Go files at its root: %v", err)
	}
	for _, name := range sources {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name.Name != "function" {
			t.Errorf("%s at the root of the staged tree is of package %s", filepath.Base(name), f.Name.Name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "function")); err == nil {
		t.Error("the staged tree has a folder function beside the function at its root: the builder would take it for the package")
	}
	module := goes(dir, "list", "-m")
	if first, _, _ := strings.Cut(module, "/"); !strings.Contains(first, ".") {
		t.Errorf("the first element of the module's path has no dot: %s", module)
	}

	folder := filepath.Join(dir, "functions.local", "app")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(mainOfBuildpack, "PACKAGE", module, 1)
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	goes(dir, "mod", "tidy")
	program = filepath.Join(t.TempDir(), "main") // -trimpath without cgo: the image is compiled so, too, and what is compiled once is good for every folder
	goes(dir, "build", "-trimpath", "-o", program, "./functions.local/app")
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built from %d Go files at the root of %s: %d bytes", len(sources), module, info.Size())
	return program
}

// output keeps what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// run starts the program on a port of its own, as an instance of Cloud Functions,
// and waits until it listens.
func run(t *testing.T, program, port string, env ...string) *output {
	t.Helper()
	out := new(output)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{
		"PORT=" + port, "HOME=" + cmd.Dir, "FUNCTION_TARGET=" + Name, "FUNCTION_SIGNATURE_TYPE=http",
		"K_SERVICE=latchwork", "K_REVISION=latchwork-00001-abc", "K_CONFIGURATION=latchwork", "CLOUD_RUN_TIMEOUT_SECONDS=1800",
	}, env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the function printed:\n%s", out)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			return out
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the function ended: %v\n%s", err, out)
		case <-tick.C:
		}
	}
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The staged tree becomes a program as on Google's side; that program, with the
// environment of a function and nothing that names an emulator, is pushed to by the
// Cloud Tasks emulator with tokens that it checks in full, and the books of a
// message balance.
func TestStagedFunction(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the staged function is built anew, half a minute; run without -short")
	}
	program := build(t)
	const project, location = "my-project", "europe-west1"
	account := "latchwork-tasks@" + project + ".iam.gserviceaccount.com"

	port := freePort(t)
	const host = "latchwork-123456789012.europe-west1.run.app"
	suite, err := emulator.Start(t.Context(), &emulator.Options{
		AllowHosts: []string{rehearsal.KeysHost},
		CloudTasks: &emulatedtasks.Options{Transport: rehearsal.FrontEnd(host, "127.0.0.1:"+port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := suite.Close(); err != nil {
			t.Error(err)
		}
	})
	google, err := rehearsal.Start(rehearsal.Options{Project: project, CloudTasks: suite.CloudTasksAddr(), Datastore: suite.DatastoreAddr(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := google.Close(); err != nil {
			t.Error(err)
		}
	})
	out := run(t, program, port, append(google.Env(),
		"GOOGLE_CLOUD_PROJECT="+project, "CLOUD_TASKS_LOCATION="+location, "WORKER_URL=https://"+host,
		"TASKS_SERVICE_ACCOUNT="+account, "MEMCACHE_ADDRS="+suite.MemcachedAddr(), "LATCHWORK_REMINDER=1s", "LATCHWORK_TIMEOUT=1m")...)

	app := client(t, suite, project, location, "https://"+host, account)

	// A stranger is refused, whatever headers it sends.
	for name, headers := range map[string]http.Header{
		"without anything":          {},
		"with Cloud Tasks' headers": {"X-Cloudtasks-Queuename": {"default"}, "X-Cloudtasks-Taskname": {"x"}},
		"with App Engine's headers": {"X-Appengine-Queuename": {"default"}, "X-Appengine-Cron": {"true"}},
		"with a token of its own":   {"Authorization": {"Bearer eyJhbGciOiJub25lIn0.e30."}},
	} {
		for _, path := range []string{"/_latchwork/tasks/messages.send", handlers.SweepPath} {
			if code := post(t, "http://127.0.0.1:"+port+path, headers); code != http.StatusForbidden {
				t.Errorf("POST %s %s: %d, want 403", path, name, code)
			}
		}
	}

	const recipients, unknown = 40, 4
	var known, to []string
	for i := range recipients {
		name := "user-" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		to = append(to, name)
		if i >= unknown {
			known = append(known, name)
		}
	}
	if err := app.AddUsers(t.Context(), append(known, "sender")...); err != nil {
		t.Fatal(err)
	}
	message, err := app.Send(t.Context(), "sender", to, "from a function")
	if err != nil {
		t.Fatal(err)
	}
	books := settled(t, app, message)
	if books.Receipts != recipients-unknown || books.Failures != unknown {
		t.Errorf("%d receipts and %d failures, want %d and %d", books.Receipts, books.Failures, recipients-unknown, unknown)
	}
	calls := google.Calls()
	for _, host := range []string{"cloudtasks.googleapis.com", "datastore.googleapis.com", rehearsal.KeysHost} {
		if calls[host] == 0 {
			t.Errorf("the function never called %s: %v", host, calls)
		}
		delete(calls, host)
	}
	if len(calls) > 0 {
		t.Errorf("the function called hosts that nobody expected: %v", calls)
	}
	t.Logf("books: %+v", books)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	t.Logf("the function printed %d lines, the first of them:\n%s", len(lines), strings.Join(lines[:min(len(lines), 12)], "\n"))

	t.Run("half configured", func(t *testing.T) {
		port := freePort(t)
		out := run(t, program, port, "GOOGLE_CLOUD_PROJECT="+project, "CLOUD_TASKS_LOCATION="+location, "MEMCACHE_ADDRS="+suite.MemcachedAddr())
		const want = "TASKS_SERVICE_ACCOUNT: whose OIDC tokens prove that it is Cloud Tasks that pushes"
		for range 3 {
			answer, err := http.Post("http://127.0.0.1:"+port+"/_latchwork/tasks/messages.send", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusInternalServerError || !strings.Contains(string(text), want) {
				t.Errorf("%s %v\n%s", answer.Status, err, text)
			}
		}
		if n := strings.Count(out.String(), "TASKS_SERVICE_ACCOUNT"); n != 1 {
			t.Errorf("the log names what is missing %d times, want once:\n%s", n, out)
		}
	})
}

func post(t *testing.T, url string, headers http.Header) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = headers
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// client is the example as one who sends and reads; the function does the rest.
func client(t *testing.T, suite *emulator.Suite, project, location, url, account string) *messages.App {
	t.Helper()
	ds, err := datastore.NewClient(t.Context(), project, tasks.EmulatorOptions(suite.DatastoreAddr())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	queue, err := cloudtasks.NewClient(t.Context(), tasks.EmulatorOptions(suite.CloudTasksAddr())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queue.Close() })
	parent := "projects/" + project + "/locations/" + location // queue.yaml is deployed before a function is
	if _, err := queue.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: parent + "/queues/default"}}); err != nil {
		t.Fatal(err)
	}
	c, err := tasks.NewClient(ds, queue, &tasks.ClientOptions{Project: project, Location: location, URL: url, ServiceAccount: account, Audience: url})
	if err != nil {
		t.Fatal(err)
	}
	app, err := messages.New(&messages.Options{Client: c, Slot: time.Second, Timeout: time.Minute, Reminder: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// settled waits until the books balance.
func settled(t *testing.T, app *messages.App, message string) messages.Books {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(3 * time.Minute); ; {
		books, err := app.Books(t.Context(), message)
		if err == nil && books.Balanced() == nil {
			return books
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the books did not balance: %+v %v", books, err)
		}
	}
}
