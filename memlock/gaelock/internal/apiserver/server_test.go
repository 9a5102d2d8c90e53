package apiserver

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/appengine/v2"
	"google.golang.org/appengine/v2/memcache"
)

func start(t *testing.T) *Server {
	s := New()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("API_HOST", host)
	t.Setenv("API_PORT", port)
	return s
}

// The SDK's own functions meet what its documentation says.
func TestSDK(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	want := func(what string, got, want error) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	item := func(v string, d time.Duration) *memcache.Item {
		return &memcache.Item{Key: "k\xff", Value: []byte(v), Flags: 7, Expiration: d}
	}
	_, err := memcache.Get(ctx, "k\xff")
	want("Get of nothing", err, memcache.ErrCacheMiss)
	want("Delete of nothing", memcache.Delete(ctx, "k\xff"), memcache.ErrCacheMiss)
	want("Add", memcache.Add(ctx, item("1", 0)), nil)
	want("Add again", memcache.Add(ctx, item("2", 0)), memcache.ErrNotStored)
	got, err := memcache.Get(ctx, "k\xff")
	if err != nil || string(got.Value) != "1" || got.Flags != 7 {
		t.Fatalf("Get = %+v, %v", got, err)
	}
	stale := *got
	got.Value = []byte{}
	want("CompareAndSwap", memcache.CompareAndSwap(ctx, got), nil)
	want("CompareAndSwap of a stale one", memcache.CompareAndSwap(ctx, &stale), memcache.ErrCASConflict)
	if got, err := memcache.Get(ctx, "k\xff"); err != nil || len(got.Value) != 0 {
		t.Errorf("Get of an empty value = %+v, %v", got, err)
	}
	want("Delete", memcache.Delete(ctx, "k\xff"), nil)
	want("CompareAndSwap of a deleted one", memcache.CompareAndSwap(ctx, &stale), memcache.ErrNotStored)
	want("CompareAndSwap without Get", memcache.CompareAndSwap(ctx, item("3", 0)), memcache.ErrServerError)

	other, err := appengine.Namespace(ctx, "other")
	want("Namespace", err, nil)
	want("Set", memcache.Set(ctx, item("here", time.Second)), nil)
	want("Set elsewhere", memcache.Set(other, item("there", 100*365*24*time.Hour)), nil)
	if stats, err := memcache.Stats(ctx); err != nil || stats.Items != 2 || stats.Bytes != 9 || stats.Hits != 2 || stats.Misses != 1 {
		t.Errorf("Stats = %+v, %v", stats, err)
	}
	s.Advance(time.Second)
	_, err = memcache.Get(ctx, "k\xff")
	want("Get after its second", err, memcache.ErrCacheMiss)
	if got, err := memcache.Get(other, "k\xff"); err != nil || string(got.Value) != "there" {
		t.Errorf("Get elsewhere = %+v, %v", got, err)
	}
	if _, err := memcache.Increment(ctx, "n", 1, 1); err == nil || !strings.Contains(err.Error(), "no method Increment") {
		t.Errorf("Increment: %v", err)
	}
}

func TestStrangeRequests(t *testing.T) {
	s := New()
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/rpc_http", "", http.StatusNotFound},
		{"POST", "/", "", http.StatusNotFound},
		{"POST", "/rpc_http", "garbage", http.StatusBadRequest},
		{"POST", "/rpc_http", strings.Repeat("x", maxRequest+1), http.StatusRequestEntityTooLarge},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.want)
		}
	}
}

// No body makes the server panic.
func FuzzHandle(f *testing.F) {
	for _, req := range []remoteRequest{
		{"memcache", "Get", []byte{}}, {"memcache", "Set", []byte("\x0b\x12\x01k\x1a\x01v\x0c")},
		{"memcache", "Delete", []byte("x")}, {"memcache", "Stats", []byte{}}, {"urlfetch", "Fetch", []byte{}},
	} {
		b, err := encode("remote_api.v2.Request", req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if answer, err := New().Handle(body); (answer == nil) == (err == nil) {
			t.Errorf("Handle(%q) = %q, %v", body, answer, err)
		}
	})
}
