package handlers_test

import (
	"os"
	"testing"

	"cloud.google.com/go/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"

	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	os.Setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:8511")
	w := &world{T: t, queue: &taskstest.Queue{}, locks: memlocktest.NewStore(), rpcs: &rpcs{}}
	ds, err := datastore.NewClient(t.Context(), "p-"+rand(), option.WithGRPCDialOption(grpc.WithUnaryInterceptor(w.rpcs.intercept)))
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	w.ds = ds
	w.client = w.newClient()
	f(w)
}
