package handlers_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// bubble runs f with a world of its own, in fake time.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		env := emulatortest.Start(t, nil)
		w := &world{T: t, queue: &taskstest.Queue{}, locks: memlocktest.NewStore(), rpcs: &rpcs{}}
		w.ds = env.NewDatastoreClient(grpc.WithUnaryInterceptor(w.rpcs.intercept))
		w.client = w.newClient("")
		f(t, w)
	})
}

// sleep lets fake time pass: all tests of this package run in bubbles.
func sleep(d time.Duration) { time.Sleep(d) }
