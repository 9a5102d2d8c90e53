package main

import (
	"strings"
	"testing"
)

// A worker without any memcached keeps its locks in Datastore, by default or
// because it is told to, and runs the example.
func TestWorkerWithoutMemcached(t *testing.T) {
	emulators := start(t, nil, "emulator", "--ephemeral", "--console-addr", "off",
		"--cloud-tasks-addr", "127.0.0.1:0", "--datastore-addr", "127.0.0.1:0", "--memcached-addr", "127.0.0.1:0")
	var env []string
	for range 2 {
		line := emulators.expect(t, "export ")
		env = append(env, strings.TrimPrefix(line, "export "))
	}
	if !strings.HasPrefix(env[0], "CLOUD_TASKS_EMULATOR_HOST=") || !strings.HasPrefix(env[1], "DATASTORE_EMULATOR_HOST=") {
		t.Fatalf("the emulators print %q first", env)
	}
	for _, locks := range []string{"LOCK_STORE=", "LOCK_STORE=datastore"} {
		addr := freeAddr(t)
		env := append(env[:2:2], locks, "MEMCACHE_ADDRS=", "WORKER_URL=http://"+addr)
		worker := start(t, env, "serve", "--addr", addr)
		worker.expect(t, "worker http://"+addr)
		if _, stderr, err := runToEnd(t, env, "enqueue", "messages.notify", `{"recipient":"no such user","message":"x/y"}`); err != nil {
			t.Fatalf("enqueue: %v\n%s", err, stderr)
		}
		worker.expect(t, "cancelled")
		if err := worker.interrupt(t); err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
	}
}
