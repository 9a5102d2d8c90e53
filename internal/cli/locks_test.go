package cli

import (
	"fmt"
	"log/slog"
	"testing"
)

// LOCK_STORE decides; without it, whether there is a memcached.
func TestWhereLocksAre(t *testing.T) {
	for _, c := range []struct {
		lockStore string
		servers   []string
		want      string
		cached    bool
	}{
		{"", nil, "*datastorelock.Store", false},
		{"", []string{""}, "*datastorelock.Store", false}, // MEMCACHE_ADDRS=
		{"", []string{"127.0.0.1:1"}, "*memlock.MemcacheStore", true},
		{"memcached", []string{"127.0.0.1:1"}, "*memlock.MemcacheStore", true},
		{"datastore", nil, "*datastorelock.Store", false},
		{"datastore", []string{"127.0.0.1:1"}, "*datastorelock.Store", true},
	} {
		s := &services{LockStore: c.lockStore, MemcacheAddrs: c.servers, WorkerURL: "http://worker.example",
			CloudTasksHost: "127.0.0.1:1", DatastoreHost: "127.0.0.1:1"}
		if err := s.complete(ownMachine); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		conns, err := s.connect(t.Context(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if got := fmt.Sprintf("%T", conns.locks); got != c.want || (conns.cache != nil) != c.cached {
			t.Errorf("LOCK_STORE=%s MEMCACHE_ADDRS=%s: a %s, cache %v, want a %s, cache %v", c.lockStore, c.servers, got, conns.cache != nil, c.want, c.cached)
		}
		if _, err := conns.newApp(nil, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if err := conns.Close(); err != nil {
			t.Error(err)
		}
	}
}
