package cli

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/handlers/auth"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

// A worker that cannot be reached any more ends, so that whoever watches over it
// starts another.
func TestServeEndsWithItsListener(t *testing.T) {
	t.Setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1") // a client without credentials; nothing is sent
	ds, err := datastore.NewClient(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	client, err := tasks.NewClient(ds, new(taskstest.Queue), &tasks.ClientOptions{Project: "p", Location: "l", URL: "http://worker"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := handlers.New(client, memlock.New(memlocktest.NewStore(), nil), auth.Any(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{server: server, sweep: time.Hour, log: slog.New(slog.DiscardHandler)}
	ended := make(chan error, 1)
	go func() { ended <- w.serve(t.Context(), listener, time.Second) }()
	if resp, err := http.Get("http://" + listener.Addr().String() + "/"); err != nil {
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	listener.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("serve: %v, want the listener's error", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("serve goes on without its listener")
	}
}
