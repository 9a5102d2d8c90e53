package emulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/bradfitz/gomemcache/memcache"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator"
)

// ask makes a request to the admin paths. The pairs are headers.
func ask(t testing.TB, s *emulator.Suite, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.CloudTasksAddr()+"/_latchwork/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

type clockState struct {
	Now    time.Time
	Offset string
	Frozen bool
}

func askClock(t testing.TB, s *emulator.Suite, method, body string) (state clockState) {
	t.Helper()
	code, answer := ask(t, s, method, "clock", body)
	if err := json.Unmarshal([]byte(answer), &state); err != nil || code != 200 {
		t.Fatalf("%s %s: %d %s", method, body, code, answer)
	}
	return state
}

// A task that is due tomorrow is delivered when the clock is advanced by a day,
// over HTTP as a test in any language would.
func TestTomorrowByHTTP(t *testing.T) {
	s := start(t, nil)
	delivered := make(chan string, 10)
	worker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		delivered <- r.Header.Get("X-CloudTasks-TaskName")
	}))
	defer worker.Close()
	api := cloudtaskspb.NewCloudTasksClient(dial(t, s.CloudTasksAddr()))
	const parent = "projects/p/locations/us-central1"
	if _, err := api.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: parent + "/queues/q"}}); err != nil {
		t.Fatal(err)
	}
	askClock(t, s, "POST", `{"frozen": true}`)
	for i, after := range []time.Duration{48 * time.Hour, 24 * time.Hour} {
		if _, err := api.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: parent + "/queues/q", Task: &cloudtaskspb.Task{
			Name:         fmt.Sprintf("%s/queues/q/tasks/in-%d-days", parent, 2-i),
			ScheduleTime: timestamppb.New(time.Now().Add(after)),
			MessageType:  &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: worker.URL}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"in-1-days", "in-2-days"} {
		before := askClock(t, s, "GET", "")
		after := askClock(t, s, "POST", `{"advance": "24h1m"}`)
		if after.Now.Sub(before.Now) != 24*time.Hour+time.Minute || !after.Frozen {
			t.Errorf("the clock went from %+v to %+v", before, after)
		}
		if got := <-delivered; got != want {
			t.Errorf("%s was delivered, want %s", got, want)
		}
	}
}

// The one clock is that of all servers.
func TestClockOfAllServers(t *testing.T) {
	s := start(t, &emulator.Options{Advance: 48 * time.Hour})
	cache := memcache.New(s.MemcachedAddr())
	defer cache.Close()
	lock := &memcache.Item{Key: "lock", Value: []byte("me"), Expiration: 3600}
	if err := cache.Add(lock); err != nil {
		t.Fatal(err)
	}
	if err := cache.Add(lock); err != memcache.ErrNotStored {
		t.Fatalf("a lock that is held: %v", err)
	}
	askClock(t, s, "POST", `{"advance": "1h"}`)
	if err := cache.Add(lock); err != nil {
		t.Errorf("a lock whose time is up: %v", err)
	}
	reply, err := pb.NewDatastoreClient(dial(t, s.DatastoreAddr())).Lookup(t.Context(), &pb.LookupRequest{ProjectId: "p", Keys: []*pb.Key{key("x")}})
	if err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(reply.GetReadTime().AsTime()); ahead < 48*time.Hour || ahead > 49*time.Hour {
		t.Errorf("Datastore reads %v ahead, want 49h", ahead)
	}
	api := cloudtaskspb.NewCloudTasksClient(dial(t, s.CloudTasksAddr()))
	const parent = "projects/p/locations/us-central1"
	if _, err := api.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: parent + "/queues/q"}}); err != nil {
		t.Fatal(err)
	}
	task, err := api.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: parent + "/queues/q", Task: &cloudtaskspb.Task{
		MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: "http://127.0.0.1:1/"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(task.GetCreateTime().AsTime()); ahead < 48*time.Hour || ahead > 49*time.Hour {
		t.Errorf("Cloud Tasks creates %v ahead, want 49h", ahead)
	}
}

func TestMovingTheClock(t *testing.T) {
	s := start(t, nil)
	if got := askClock(t, s, "GET", ""); got.Frozen || got.Offset != "0s" || time.Since(got.Now) < 0 || time.Since(got.Now) > time.Minute {
		t.Errorf("at the start: %+v", got)
	}
	if got := askClock(t, s, "POST", `{"advance": "90m"}`); got.Frozen || got.Offset != "1h30m0s" {
		t.Errorf("advanced: %+v", got)
	}
	frozen := askClock(t, s, "POST", `{"frozen": true}`)
	if got := askClock(t, s, "GET", ""); !got.Frozen || !got.Now.Equal(frozen.Now) {
		t.Errorf("%+v, then %+v", frozen, got)
	}
	to := frozen.Now.Add(26 * time.Hour)
	if got := askClock(t, s, "POST", `{"advanceTo": "`+to.Format(time.RFC3339Nano)+`"}`); !got.Frozen || !got.Now.Equal(to) {
		t.Errorf("%+v, want %v", got, to)
	}
	if got := askClock(t, s, "POST", `{"frozen": false}`); got.Frozen || got.Now.Before(to) {
		t.Errorf("resumed: %+v", got)
	}
}

func TestWhatTheAdminPathsRefuse(t *testing.T) {
	s := start(t, nil)
	s.Clock().Freeze()
	chaos, at := s.Chaos().Settings(), s.Clock().Now()
	for _, test := range []struct{ method, path, body, want string }{
		{"POST", "clock", ``, "want a JSON object"},
		{"POST", "clock", `[]`, "want a JSON object"},
		{"POST", "clock", `{}`, `0 of "frozen", "advance" and "advanceTo" are given`},
		{"POST", "clock", `null`, `0 of "frozen"`},
		{"POST", "clock", `{"frozen": false, "advance": "1h"}`, `2 of "frozen"`},
		{"POST", "clock", `{"advance": "1h"} {"advance": "1h"}`, "goes on after"},
		{"POST", "clock", `{"advance": "1 day"}`, `unknown unit " day"`},
		{"POST", "clock", `{"advance": 5}`, "cannot unmarshal number"},
		{"POST", "clock", `{"advance": "-1h"}`, "-1h0m0s: it never goes back"},
		{"POST", "clock", `{"advance": "9999999h"}`, "invalid duration"},
		{"POST", "clock", `{"advance": "2000000h"}`, "goes no further than 2200-01-01T00:00:00Z"},
		{"POST", "clock", `{"advanceTo": "1999-01-01T00:00:00Z"}`, "can't be set to 1999-01-01T00:00:00Z"},
		{"POST", "clock", `{"advanceTo": "tomorrow"}`, "tomorrow"},
		{"POST", "clock", `{"faster": 2}`, `unknown field "faster"`},
		{"POST", "clock", strings.Repeat(" ", 64<<10) + `{"advance": "1h"}`, "longer than 65536 bytes"},
		{"PUT", "chaos", `{"duplicate": 1.5}`, "duplicate is 1.5: a probability lies between 0 and 1"},
		{"PUT", "chaos", `{"duplicates": 1}`, `unknown field "duplicates"`},
		{"PUT", "chaos", `{"abort": 0.5, "seed": -1}`, "seed"},
		{"PUT", "chaos", ``, "want a JSON object"},
	} {
		code, answer := ask(t, s, test.method, test.path, test.body)
		var refusal struct{ Error string }
		if err := json.Unmarshal([]byte(answer), &refusal); err != nil || code != 400 || !strings.Contains(refusal.Error, test.want) {
			t.Errorf("%s %s %.80s: %d %s, want 400 with %q", test.method, test.path, test.body, code, answer, test.want)
		}
	}
	for _, test := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"POST", "clock", []string{"Origin", "https://evil.example"}, 403},
		{"PUT", "chaos", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "clock", []string{"Host", "evil.example"}, 403},
		{"DELETE", "clock", nil, 405},
		{"POST", "chaos", nil, 405},
		{"GET", "nothing", nil, 404},
	} {
		if code, answer := ask(t, s, test.method, test.path, `{"frozen": false}`, test.headers...); code != test.want {
			t.Errorf("%s %s %q: %d %s, want %d", test.method, test.path, test.headers, code, answer, test.want)
		}
	}
	if !s.Clock().Now().Equal(at) || s.Chaos().Settings() != chaos {
		t.Error("what was refused has changed something")
	}
}

// A Datastore that is down is so at once, until it isn't; what struck is counted.
func TestChaosByHTTP(t *testing.T) {
	s := start(t, nil)
	api := pb.NewDatastoreClient(dial(t, s.DatastoreAddr()))
	lookup := func() codes.Code {
		_, err := api.Lookup(t.Context(), &pb.LookupRequest{ProjectId: "p", Keys: []*pb.Key{key("x")}})
		return status.Code(err)
	}
	var state struct {
		Settings emulator.ChaosSettings
		Injected map[string]uint64
	}
	set := func(method, body string) {
		t.Helper()
		code, answer := ask(t, s, method, "chaos", body)
		if err := json.Unmarshal([]byte(answer), &state); err != nil || code != 200 {
			t.Fatalf("%s %s: %d %s", method, body, code, answer)
		}
	}
	set("PUT", `{"seed": 7, "datastoreOutage": 1}`)
	if state.Settings != (emulator.ChaosSettings{Seed: 7, DatastoreOutage: 1}) {
		t.Errorf("settings %+v", state.Settings)
	}
	if got := lookup(); got != codes.Unavailable {
		t.Errorf("in an outage: %v", got)
	}
	set("PUT", `{"cloudTasksOutage": 1}`)
	if code, answer := get(t, "http://"+s.CloudTasksAddr()+"/v2/projects/p/locations/l/queues", ""); code != 503 || !strings.Contains(answer, "UNAVAILABLE") {
		t.Errorf("REST in an outage: %d %s", code, answer)
	}
	set("PUT", `{}`)
	if got := lookup(); got != codes.OK {
		t.Errorf("after the outage: %v", got)
	}
	set("GET", "")
	if state.Settings != (emulator.ChaosSettings{Seed: 7}) || state.Injected["datastoreOutage"] != 1 || state.Injected["cloudTasksOutage"] != 1 || len(state.Injected) != 9 {
		t.Errorf("state %+v", state)
	}
}

// The examples of the document work: what they print is what it says, but for
// times.
func TestExamplesOfTheDocument(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: there is no curl on PATH, so the examples of docs/time-and-chaos.md were not run")
	}
	text, err := os.ReadFile("../docs/time-and-chaos.md")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil)
	times := regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|"offset":"[^"]*"|"seed":\d+`)
	plain := func(s string) string { return times.ReplaceAllString(strings.TrimSpace(s), "…") }
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, step := range regexp.MustCompile(`(?m)^\$ `).Split(block[1], -1)[1:] {
			command, want, _ := strings.Cut(step, "\n")
			if !strings.HasPrefix(command, "curl ") {
				continue
			}
			ran++
			cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, "localhost:8123", s.CloudTasksAddr()))
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("%s: %v", command, err)
			}
			if plain(string(out)) != plain(want) {
				t.Errorf("%s\nprints  %s\nand not %s", command, plain(string(out)), plain(want))
			}
		}
	}
	if ran < 5 {
		t.Errorf("%d examples found: the pattern is broken", ran)
	}
}

// The next suite on the same folder goes by the machine's clock again, and what a
// clock ahead has left is neither lost nor overtaken.
func TestOffsetIsNotKept(t *testing.T) {
	dir := t.TempDir()
	commit := func(s *emulator.Suite) int64 {
		t.Helper()
		reply, err := pb.NewDatastoreClient(dial(t, s.DatastoreAddr())).Commit(t.Context(), &pb.CommitRequest{
			ProjectId: "p", Mode: pb.CommitRequest_NON_TRANSACTIONAL,
			Mutations: []*pb.Mutation{{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: key("x"), Properties: map[string]*pb.Value{
				"at": {ValueType: &pb.Value_IntegerValue{IntegerValue: time.Now().UnixNano()}},
			}}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return reply.GetMutationResults()[0].GetVersion()
	}
	const queue = "projects/p/locations/us-central1/queues/q"
	ahead, err := emulator.Start(t.Context(), &emulator.Options{Dir: dir, Advance: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	version := commit(ahead)
	api := cloudtaskspb.NewCloudTasksClient(dial(t, ahead.CloudTasksAddr()))
	if _, err := api.CreateQueue(t.Context(), &cloudtaskspb.CreateQueueRequest{Parent: "projects/p/locations/us-central1", Queue: &cloudtaskspb.Queue{Name: queue}}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: &cloudtaskspb.Task{
		ScheduleTime: timestamppb.New(ahead.Clock().Now().Add(time.Hour)),
		MessageType:  &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: "http://127.0.0.1:1/"}},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := ahead.Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, &emulator.Options{Dir: dir})
	if offset := s.Clock().State().Offset; offset != 0 {
		t.Errorf("the clock starts %v ahead", offset)
	}
	for range 3 {
		next := commit(s)
		if next <= version {
			t.Errorf("version %d after %d", next, version)
		}
		version = next
	}
	q := s.Stats().CloudTasks.Queues[0]
	if left := time.Until(q.OldestETA); q.Waiting != 1 || left < 24*time.Hour || left > 26*time.Hour {
		t.Errorf("%d tasks wait, the first for %v; want one, for 25h", q.Waiting, left)
	}
}

// Whatever comes, the answer is 200 or 400, and the clock never goes back.
func FuzzMoveClock(f *testing.F) {
	for _, seed := range []string{
		`{"frozen": true}`, `{"frozen": false}`, `{"advance": "1h30m"}`, `{"advance": "-1ns"}`, `{"advanceTo": "2030-01-01T00:00:00Z"}`,
		`{"advance": "1h", "frozen": null}`, `{"advance": 1e9}`, `[{}]`, `{"advance": "1h"}}`, "",
	} {
		f.Add(seed)
	}
	s, err := emulator.Start(f.Context(), nil)
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	f.Fuzz(func(t *testing.T, body string) {
		before := s.Clock().Now()
		if code, answer := ask(t, s, "POST", "clock", body); code != 200 && code != 400 {
			t.Errorf("%q: %d %s", body, code, answer)
		}
		if after := s.Clock().Now(); after.Before(before) {
			t.Errorf("%q: the clock went back from %v to %v", body, before, after)
		}
	})
}
