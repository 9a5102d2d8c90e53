package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func must(t *testing.T, s Settings) *Chaos {
	t.Helper()
	c, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// all is the settings in which every fault has the probability p.
func all(seed uint64, p float64) Settings {
	return Settings{
		Seed: seed, Duplicate: p, Reorder: p, Delay: p, Timeout: p, CloudTasksOutage: p,
		Abort: p, DatastoreOutage: p, Evict: p, MemcachedOutage: p,
	}
}

// struck returns which of n names f strikes.
func struck(c *Chaos, f Fault, n int) (which []int) {
	for i := range n {
		if _, yes := c.Strikes(f, 1, "queue", fmt.Sprint(i)); yes {
			which = append(which, i)
		}
	}
	return which
}

func TestChoicesFollowSeedAndNames(t *testing.T) {
	const n = 2000
	for f := range faults {
		first := struck(must(t, all(7, 0.2)), f, n)
		if len(first) < n/5-n/20 || len(first) > n/5+n/20 {
			t.Errorf("%v strikes %d of %d with a probability of 0.2", f, len(first), n)
		}
		if again := struck(must(t, all(7, 0.2)), f, n); !slices.Equal(first, again) {
			t.Errorf("%v: one seed chooses differently the second time", f)
		}
		if other := struck(must(t, all(8, 0.2)), f, n); slices.Equal(first, other) {
			t.Errorf("%v: another seed chooses the same", f)
		}
		if next := struck(must(t, all(7, 0.2)), (f+1)%faults, n); slices.Equal(first, next) {
			t.Errorf("%v and %v choose the same", f, (f+1)%faults)
		}
		if got := len(struck(must(t, all(7, 1)), f, n)); got != n {
			t.Errorf("%v strikes %d of %d with a probability of 1", f, got, n)
		}
		if got := len(struck(must(t, all(7, 0)), f, n)); got != 0 {
			t.Errorf("%v strikes %d of %d with a probability of 0", f, got, n)
		}
		if got := len(struck(nil, f, n)); got != 0 {
			t.Errorf("%v strikes without a Chaos", f)
		}
	}
	c := must(t, all(7, 0.5))
	together, apart := 0, 0
	for i := range 100 {
		_, a := c.Strikes(Delay, 1, "ab", fmt.Sprint(i))
		_, b := c.Strikes(Delay, 1, "a", fmt.Sprint("b", i))
		if a == b {
			together++
		} else {
			apart++
		}
	}
	if apart == 0 || together == 0 {
		t.Errorf("names run into each other: %d alike, %d not", together, apart)
	}
}

// What comes again is chosen anew, and in the same way in the next run.
func TestEachTimeIsAnotherChoice(t *testing.T) {
	run := func() (s string) {
		c := must(t, Settings{Seed: 7, Abort: 0.5})
		for range 64 {
			_, yes := c.StrikesNext(Abort, "key")
			s += map[bool]string{true: "x", false: "."}[yes]
		}
		return s
	}
	first := run()
	if n := strings.Count(first, "x"); n < 16 || n > 48 {
		t.Errorf("struck %d of 64 times: %s", n, first)
	}
	if again := run(); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	if _, yes := (*Chaos)(nil).StrikesNext(Abort, "key"); yes {
		t.Error("a nil Chaos strikes")
	}
}

func TestSettingsChange(t *testing.T) {
	var log bytes.Buffer
	c, err := New(Settings{}, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Settings(); s.Seed == 0 || s.any() || log.Len() > 0 {
		t.Errorf("settings %+v, log %q; want a seed, nothing else, and no line", s, &log)
	}
	seed := c.Settings().Seed
	if err := c.Set(Settings{Evict: 1}); err != nil {
		t.Fatal(err)
	}
	if !c.On(Evict) || c.On(Abort) || (*Chaos)(nil).On(Abort) {
		t.Error("On is wrong")
	}
	if c.Settings() != (Settings{Seed: seed, Evict: 1}) {
		t.Errorf("settings %+v, want the seed to stay", c.Settings())
	}
	c.StrikesNext(Evict, "some", "key")
	c.StrikesNext(Abort, "some key")
	if n := c.Injected(); n["evict"] != 1 || n["abort"] != 0 || len(n) != int(faults) {
		t.Errorf("injected %v", n)
	}
	for _, want := range []string{"level=WARN msg=chaos", fmt.Sprint("Seed:", seed), "Evict:1", `fault=evict what="some key" time=1`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
	}
	if err := c.Set(Settings{Seed: 5}); err != nil || c.Settings() != (Settings{Seed: 5}) {
		t.Errorf("settings %+v, error %v", c.Settings(), err)
	}
}

func TestProbabilitiesOnly(t *testing.T) {
	for _, p := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		c := must(t, all(1, 0.5))
		if _, err := New(Settings{Reorder: p}, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("reorder is %v", p)) {
			t.Errorf("%v: error %v", p, err)
		}
		if err := c.Set(Settings{MemcachedOutage: p}); err == nil || !strings.Contains(err.Error(), "memcachedOutage") {
			t.Errorf("%v: error %v", p, err)
		}
		if c.Settings() != all(1, 0.5) {
			t.Error("what was refused has changed something")
		}
	}
}

// The names of faults are those of the fields in JSON.
func TestNames(t *testing.T) {
	text, err := json.Marshal(all(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]float64
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	if len(fields) != int(faults)+1 {
		t.Errorf("%d fields", len(fields))
	}
	for f := range faults {
		if fields[f.String()] != 1 {
			t.Errorf("no field is called %v", f)
		}
	}
}

func TestDice(t *testing.T) {
	c := must(t, Settings{Seed: 3, Delay: 1})
	half, low, sum := 0, time.Hour, time.Duration(0)
	const n = 2000
	for i := range n {
		d, _ := c.Strikes(Delay, i, "it")
		if d.Half() {
			half++
		}
		later := d.Within(time.Second)
		if later < 0 || later >= time.Second {
			t.Fatalf("%v isn't within a second", later)
		}
		low, sum = min(low, later), sum+later
	}
	if half < n/2-n/20 || half > n/2+n/20 || low > 10*time.Millisecond || sum/n < 450*time.Millisecond || sum/n > 550*time.Millisecond {
		t.Errorf("of %d dice %d are below the half; the least time is %v, the mean %v", n, half, low, sum/n)
	}
}

func TestOutage(t *testing.T) {
	c := must(t, Settings{Seed: 3})
	const change, read, other = "/svc.A/Change", "/svc.A/Read", "/svc.B/Change"
	intercept := c.Outage(DatastoreOutage, "/svc.A/", func(m string) bool { return m == change })
	refusal := errors.New("refused")
	call := func(method string, answer error) (done bool, err error) {
		_, err = intercept(context.Background(), nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) {
			done = true
			return nil, answer
		})
		return done, err
	}
	if done, err := call(change, nil); !done || err != nil {
		t.Errorf("without chaos: done %v, error %v", done, err)
	}
	if err := c.Set(Settings{DatastoreOutage: 1}); err != nil {
		t.Fatal(err)
	}
	if done, err := call(other, nil); !done || err != nil {
		t.Errorf("another service: done %v, error %v", done, err)
	}
	lost, refused := 0, 0
	for range 100 {
		done, err := call(change, nil)
		if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "nothing was done") == done {
			t.Errorf("done %v, error %v", done, err)
		}
		if done {
			lost++
		}
		if done, err := call(read, nil); done || status.Code(err) != codes.Unavailable {
			t.Errorf("a read: done %v, error %v", done, err)
		}
		if done, err := call(change, refusal); done && err != refusal {
			t.Errorf("a call that fails of itself: %v", err)
		} else if !done {
			refused++
		}
	}
	if lost < 20 || lost > 80 || refused < 20 || refused > 80 {
		t.Errorf("of 100 calls %d were carried out; of 100 others %d were not", lost, refused)
	}
}
