package datastore_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/google/go-cmp/cmp"
	"github.com/latchwork/latchwork/emulator/datastore"
)

func TestEndpoints(t *testing.T) {
	stopped := make(chan struct{}, 1)
	e := start(t, &datastore.Options{Shutdown: func() { stopped <- struct{}{} }})
	a := api{e.raw(), t}
	a.mustCommit(nil, put("T", "a", 1), put("T", "b", 1), put("S", "a", 1))
	want := []datastore.KindStats{{Project: project, Kind: "S", Entities: 1}, {Project: project, Kind: "T", Entities: 2}}
	if diff := cmp.Diff(want, e.Stats().Kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	if n := e.Stats().Calls["Commit"]; n != 1 {
		t.Errorf("%d calls of Commit were counted; want 1", n)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return e.net.DialContext(ctx, "tcp", e.addr)
	}}}
	defer c.CloseIdleConnections()
	for _, step := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/", "Ok", 200},
		{"GET", "/reset", "Not Found", 404},
		{"GET", "/elsewhere", "Not Found", 404},
		{"POST", "/reset", "Resetting...", 200},
		{"POST", "/shutdown", "Shutting down...", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), step.method, "http://localhost"+step.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != step.status || strings.TrimSpace(string(body)) != step.body {
			t.Errorf("%s %s: %d %q; want %d %q", step.method, step.path, resp.StatusCode, body, step.status, step.body)
		}
	}
	<-stopped
	a.mustGet(nil, "T", "a", -1)
}

func TestBadOptions(t *testing.T) {
	for _, o := range []*datastore.Options{
		{Concurrency: "hopeful"}, {Fsync: "sometimes"}, {TransactionIdle: -1}, {TransactionMax: -time.Second},
	} {
		if s, err := datastore.New(o); err == nil {
			s.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestVersionsNeverGoBack: fake time starts in the year 2000 in every bubble,
// so the second run's clock is an hour behind the first one's.
func TestVersionsNeverGoBack(t *testing.T) {
	dir := t.TempDir()
	var last int64
	run := func(ahead time.Duration) {
		isolated(t, &datastore.Options{Dir: dir}, func(t *testing.T, a api, e *env) {
			time.Sleep(ahead)
			for range 3 {
				resp, err := a.Commit(t.Context(), &pb.CommitRequest{ProjectId: project, Mode: pb.CommitRequest_NON_TRANSACTIONAL,
					Mutations: []*pb.Mutation{remove(key("T", "missing"))}}) // changes nothing but the version
				if err != nil {
					t.Fatal(err)
				}
				if v := resp.GetMutationResults()[0].GetVersion(); v <= last {
					t.Errorf("version %d after %d", v, last)
				} else {
					last = v
				}
			}
			synctest.Wait()
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	run(time.Hour)
	run(0)
}

func TestAllocatedIDsAreNew(t *testing.T) {
	a := api{start(t, nil).raw(), t}
	ctx := t.Context()
	incomplete := func(n int) (ks []*pb.Key) {
		for range n {
			ks = append(ks, path(&pb.Key_PathElement{Kind: "A"}))
		}
		return ks
	}
	resp, err := a.AllocateIds(ctx, &pb.AllocateIdsRequest{ProjectId: project, Keys: incomplete(50)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, k := range resp.GetKeys() {
		id := k.GetPath()[0].GetId()
		if seen[id] || id < 1<<52 || id >= 1<<53 {
			t.Errorf("identifier %d", id)
		}
		seen[id] = true
	}
	// The next ones would be these, had nobody reserved or used them.
	taken := []int64{}
	probe := start(t, nil).raw()
	ahead, err := probe.AllocateIds(ctx, &pb.AllocateIdsRequest{ProjectId: project, Keys: incomplete(60)})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range ahead.GetKeys()[50:] {
		taken = append(taken, k.GetPath()[0].GetId())
	}
	if _, err := a.ReserveIds(ctx, &pb.ReserveIdsRequest{ProjectId: project, Keys: []*pb.Key{path(numbered("A", taken[0])), path(numbered("A", taken[2]))}}); err != nil {
		t.Fatal(err)
	}
	a.mustCommit(nil, upsert(path(numbered("A", taken[1])), "n", integer(1)))
	again, err := a.AllocateIds(ctx, &pb.AllocateIdsRequest{ProjectId: project, Keys: incomplete(1)})
	if err != nil {
		t.Fatal(err)
	}
	if got := again.GetKeys()[0].GetPath()[0].GetId(); got != taken[3] {
		t.Errorf("got %d; want %d, the first that is free of %v", got, taken[3], taken)
	}
}
