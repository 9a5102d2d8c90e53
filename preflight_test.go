package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/latchwork/latchwork/emulator"
	emulateddatastore "github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/internal/rehearsal"
)

// exports starts the emulators and returns the lines that a worker needs.
func exports(t *testing.T, args ...string) []string {
	t.Helper()
	p := start(t, nil, append([]string{"emulator", "--ephemeral", "--console-addr", "off",
		"--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", "127.0.0.1:0", "--memcached-addr", "127.0.0.1:0"}, args...)...)
	var env []string
	for range 3 {
		env = append(env, strings.TrimPrefix(p.expect(t, "export "), "export "))
	}
	return env
}

// A Datastore without the worker's index is found at the start, not by its tasks.
func TestServeWithoutItsIndex(t *testing.T) {
	env := exports(t, "--index-mode", "require")
	stdout, stderr, err := runToEnd(t, env, "serve", "--addr", "127.0.0.1:0")
	if err == nil || stdout != "" {
		t.Errorf("it started: %v\n%s", err, stdout)
	}
	for _, want := range []string{"no matching index found", "kind: tumble.Mutation", "--indexes index.yaml"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the error does not say %q: %s", want, stderr)
		}
	}
}

// With a cloud's environment, and Google played by the rehearsal: a queue and an
// index that nobody deployed are both named, with the commands that make them.
func TestServeInTheCloudUndeployed(t *testing.T) {
	suite, err := emulator.Start(t.Context(), &emulator.Options{
		AllowHosts: []string{rehearsal.KeysHost},
		Datastore:  &emulateddatastore.Options{IndexMode: "require"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	google, err := rehearsal.Start(rehearsal.Options{Project: "my-project", CloudTasks: suite.CloudTasksAddr(), Datastore: suite.DatastoreAddr(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer google.Close()
	stdout, stderr, err := runToEnd(t, append(google.Env(), "K_SERVICE=worker", "PORT=0", "GOOGLE_CLOUD_PROJECT=my-project", "CLOUD_TASKS_LOCATION=europe-west1",
		"WORKER_URL=https://worker.example.com", "TASKS_SERVICE_ACCOUNT=worker@my-project.iam.gserviceaccount.com"), "serve")
	if err == nil || stdout != "" {
		t.Errorf("it started: %v\n%s", err, stdout)
	}
	for _, want := range []string{
		"the queue default does not exist in projects/my-project/locations/europe-west1", "gcloud tasks queues create default --location=europe-west1 --project=my-project",
		"no matching index found", "gcloud datastore indexes create index.yaml --project=my-project",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the error does not say %q: %s", want, stderr)
		}
	}
}

// Without memcached the worker warns, says what to do, and works.
func TestServeWithoutMemcached(t *testing.T) {
	addr := freeAddr(t)
	env := append(exports(t)[:2:2], "MEMCACHE_ADDRS=127.0.0.1:1", "WORKER_URL=http://"+addr)
	var log lockedLog
	cmd := exec.CommandContext(t.Context(), os.Args[0], "serve", "--addr", addr)
	cmd.Env = append([]string{"LATCHWORK_TEST_MAIN=1", "HOME=" + t.TempDir()}, env...)
	cmd.Dir, cmd.Stderr = t.TempDir(), &log
	worker := launch(t, cmd)
	worker.expect(t, "latchwork: worker")
	for _, want := range []string{"memcached cannot be reached", "check MEMCACHE_ADDRS", "LOCK_STORE=datastore"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the warning does not say %q: %s", want, log.String())
		}
	}
	if _, stderr, err := runToEnd(t, env, "enqueue", "messages.notify", `{"recipient":"no such user","message":"x/y"}`); err != nil {
		t.Fatalf("enqueue: %v\n%s", err, stderr)
	}
	worker.expect(t, "cancelled")
	if err := worker.interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
