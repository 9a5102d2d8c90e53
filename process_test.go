package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"

	"github.com/latchwork/latchwork/tasks"
)

// A taken port is an error that names the port and the flag, and nothing is left
// behind.
func TestTakenPorts(t *testing.T) {
	taken := freeAddr(t)
	first := start(t, nil, "emulator", "--ephemeral", "--console-addr", "off",
		"--cloud-tasks-addr", taken, "--datastore-addr", "127.0.0.1:0", "--memcached-addr", "127.0.0.1:0")
	first.expect(t, "now running")

	for flag, args := range map[string][]string{
		"--cloud-tasks-addr": {"emulator", "--ephemeral"},
		"--datastore-addr":   {"emulator", "--ephemeral"},
		"--memcached-addr":   {"emulator", "--ephemeral"},
		"--console-addr":     {"emulator", "--ephemeral"},
		"--addr":             {"serve", "--ephemeral"},
	} {
		t.Run(flag, func(t *testing.T) {
			args = append(args, flag, taken)
			for _, other := range []string{"--cloud-tasks-addr", "--datastore-addr", "--memcached-addr", "--console-addr"} {
				if other != flag {
					args = append(args, other, "127.0.0.1:0")
				}
			}
			_, stderr, err := runToEnd(t, nil, args...)
			if err == nil {
				t.Fatal("it started on a port that is taken")
			}
			_, port, _ := strings.Cut(taken, ":")
			if !strings.Contains(stderr, port) || !strings.Contains(stderr, flag) {
				t.Errorf("the error names not both the port %s and the flag %s: %s", port, flag, stderr)
			}
		})
	}
}

// Two processes on one data folder would each undo what the other wrote.
func TestOneProcessADataFolder(t *testing.T) {
	dir := t.TempDir()
	ports := []string{"--console-addr", "off", "--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", "127.0.0.1:0", "--memcached-addr", "127.0.0.1:0"}
	first := start(t, nil, append([]string{"emulator", "--data", dir}, ports...)...)
	first.expect(t, "now running")
	_, stderr, err := runToEnd(t, nil, append([]string{"emulator", "--data", dir}, ports...)...)
	if err == nil || !strings.Contains(stderr, dir) {
		t.Errorf("a second process on %s: error %v, %q", dir, err, stderr)
	}
}

// What the emulator prints can be evaluated by a shell, and Ctrl-C ends it well.
func TestEmulatorOutput(t *testing.T) {
	p := start(t, nil, "emulator", "--ephemeral",
		"--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", "127.0.0.1:0", "--memcached-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0")
	for _, want := range []string{"export CLOUD_TASKS_EMULATOR_HOST=127.0.0.1:", "export DATASTORE_EMULATOR_HOST=127.0.0.1:", "export MEMCACHE_ADDRS=127.0.0.1:", "# Dev App Server is now running.", "# Console: http://127.0.0.1:"} {
		if line := p.expect(t, want); !strings.HasPrefix(line, want) {
			t.Errorf("the line is %q, want it to start with %q", line, want)
		}
	}
	if err := p.interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// POST /shutdown on Datastore's port ends the stand-ins well, once it is answered.
func TestShutdown(t *testing.T) {
	addr := freeAddr(t)
	p := start(t, nil, "emulator", "--ephemeral", "--console-addr", "off",
		"--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", addr, "--memcached-addr", "127.0.0.1:0")
	p.expect(t, "now running")
	r, err := http.Post("http://"+addr+"/shutdown", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); string(body) != "Shutting down...\n" || err != nil {
		t.Errorf("it answers %q, %v", body, err)
	}
	if err := p.end(); err != nil {
		t.Errorf("after /shutdown: %v", err)
	}
}

// `latchwork` alone, on a bare machine: the stand-ins, the worker and the example
// in one process, tasks that run, client commands that find it, and everything
// still there after a restart.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	addrs := map[string]string{"--addr": freeAddr(t), "--cloud-tasks-addr": freeAddr(t), "--datastore-addr": freeAddr(t), "--memcached-addr": freeAddr(t), "--console-addr": freeAddr(t)}
	args := []string{"serve", "--data", dir}
	for flag, addr := range addrs {
		args = append(args, flag, addr)
	}
	env := []string{"CLOUD_TASKS_EMULATOR_HOST=" + addrs["--cloud-tasks-addr"], "DATASTORE_EMULATOR_HOST=" + addrs["--datastore-addr"],
		"MEMCACHE_ADDRS=" + addrs["--memcached-addr"], "WORKER_URL=http://" + addrs["--addr"]}

	p := start(t, nil, args...)
	p.expect(t, "Latchwork runs, kept in "+dir)
	p.expect(t, "messages.notify") // of the message that is sent at the start

	stdout, stderr, err := runToEnd(t, env, "enqueue", "messages.notify", `{"recipient":"no such user","message":"x/y"}`)
	if err != nil || !strings.HasPrefix(stdout, "enqueued messages.notify id=") {
		t.Fatalf("enqueue: %v\n%s%s", err, stdout, stderr)
	}
	p.expect(t, "cancelled")

	// What can't become a task is refused before anything is sent.
	for _, bad := range []struct{ class, payload, want string }{
		{"no.such.class", `null`, `no class "no.such.class"; there are: messages.`},
		{"messages.notify", `"text"`, "cannot unmarshal string"},
		{"messages.notify", `{"recipient":1}`, "cannot unmarshal number"},
		{"messages.notify", `{"recipent":"x"}`, `unknown field "recipent"`},
	} {
		if _, stderr, err := runToEnd(t, env, "enqueue", bad.class, bad.payload); err == nil || !strings.Contains(stderr, bad.want) {
			t.Errorf("enqueue %s %s: %v, %q does not say %q", bad.class, bad.payload, err, stderr, bad.want)
		}
	}

	// The message that the output suggests goes all the way.
	if _, stderr, err := runToEnd(t, env, "enqueue", "messages.send", `{"from":"ada","to":["grace","edsger","nobody"],"text":"hello"}`); err != nil {
		t.Errorf("enqueue messages.send: %v\n%s", err, stderr)
	}
	p.expect(t, "messages.send")
	p.expect(t, "messages.notify")

	// Named twice, it runs once.
	for i, want := range []string{"enqueued", "duplicate"} {
		stdout, stderr, err := runToEnd(t, env, "enqueue", "--name", "once", "messages.notify", `{"recipient":"no such user","message":"x/y"}`)
		if err != nil || !strings.HasPrefix(stdout, want) {
			t.Errorf("enqueue --name, call %d: %v\n%s%s", i+1, err, stdout, stderr)
		}
	}

	// The lines that the emulator prints are all that a client command needs.
	stdout, stderr, err = runToEnd(t, env[:3], "dead", "list")
	if err != nil || !strings.HasPrefix(stdout, "KEY") {
		t.Errorf("dead list: %v\n%s%s", err, stdout, stderr)
	}
	if _, stderr, err = runToEnd(t, env, "dead", "redrive", "nothing"); err == nil || !strings.Contains(stderr, `no dead letter has the key "nothing"`) {
		t.Errorf("dead redrive of nothing: %v\n%s", err, stderr)
	}
	if err := p.interrupt(t); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}

	again := start(t, nil, append(args, "--no-welcome")...)
	again.expect(t, "Latchwork runs")
	stdout, _, err = runToEnd(t, env, "enqueue", "--name", "once", "messages.notify", `{"recipient":"x","message":"x/y"}`)
	if err != nil || !strings.HasPrefix(stdout, "duplicate") {
		t.Errorf("after a restart the name is forgotten: %v\n%s", err, stdout)
	}
}

// App Engine tasks reach the address that the flag gives their service.
func TestAppEngineFlag(t *testing.T) {
	pushed := make(chan *http.Request, 1)
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { pushed <- r }))
	defer service.Close()
	p := start(t, nil, "emulator", "--ephemeral", "--console-addr", "off", "--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", "127.0.0.1:0",
		"--memcached-addr", "127.0.0.1:0", "--app-engine", "default="+strings.TrimPrefix(service.URL, "http://"))
	_, host, _ := strings.Cut(p.expect(t, "export CLOUD_TASKS_EMULATOR_HOST="), "=")

	client, err := cloudtasks.NewClient(t.Context(), tasks.EmulatorOptions(host)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const parent = "projects/p/locations/l"
	queue, err := client.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: parent + "/queues/q"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue.GetName(), Task: &cloudtaskspb.Task{
		MessageType: &cloudtaskspb.Task_AppEngineHttpRequest{AppEngineHttpRequest: &cloudtaskspb.AppEngineHttpRequest{RelativeUri: "/work"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := <-pushed; r.URL.Path != "/work" || r.Header.Get("X-Appengine-Queuename") != "q" {
		t.Errorf("pushed to %s with queue %q", r.URL.Path, r.Header.Get("X-Appengine-Queuename"))
	}
}

func TestExitStatus(t *testing.T) {
	for want, args := range map[int][]string{
		0: {"version"},
		1: {"emulator", "--ephemeral", "--cloud-tasks-addr", "192.0.2.1:0"},
		2: {"frobnicate"},
	} {
		if got := exitStatus(t, args...); got != want {
			t.Errorf("%v: exit status %d, want %d", args, got, want)
		}
	}
	if os.Getenv("LATCHWORK_TEST_MAIN") != "" {
		t.Error("the tests themselves run with the variable that makes them the program")
	}
}
