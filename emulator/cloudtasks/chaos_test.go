package cloudtasks_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/clock"
)

func newChaos(t testing.TB, s chaos.Settings) *chaos.Chaos {
	t.Helper()
	c, err := chaos.New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func duplicateAll(t testing.TB) *chaos.Chaos { return newChaos(t, chaos.Settings{Duplicate: 1}) }

// arrivals notes when deliveries come, by task.
type arrivals struct {
	start time.Time
	sync.Mutex
	at    map[string][]time.Duration
	order []string
}

func (a *arrivals) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	a.Lock()
	defer a.Unlock()
	if a.at == nil {
		a.at = map[string][]time.Duration{}
	}
	name := r.Header.Get("X-CloudTasks-TaskName")
	a.at[name] = append(a.at[name], time.Since(a.start))
	a.order = append(a.order, name)
}

// deliver creates n tasks, a second apart, and returns how they arrived within an
// hour.
func deliver(t *testing.T, n int, s chaos.Settings) *arrivals {
	t.Helper()
	seen := &arrivals{start: time.Now()}
	c := newChaos(t, s)
	e := start(t, &cloudtasks.Options{Chaos: c}, seen)
	e.queue(nil)
	for i := range n {
		e.create(post(fmt.Sprintf("t%02d", i)))
		time.Sleep(time.Second)
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	for f, count := range c.Injected() {
		wanted := map[string]bool{"duplicate": s.Duplicate > 0, "reorder": s.Reorder > 0, "delay": s.Delay > 0, "timeout": s.Timeout > 0}
		if (count > 0) != wanted[f] {
			t.Errorf("%s struck %d times", f, count)
		}
	}
	if len(seen.at) != n || len(e.server.Stats().Queues) != 1 || e.server.Stats().Queues[0].Tasks != 0 {
		t.Errorf("%d tasks were delivered, want %d; left %+v", len(seen.at), n, e.server.Stats())
	}
	return seen
}

func TestChaosOfDeliveries(t *testing.T) {
	const n = 40
	name := func(i int) string { return fmt.Sprintf("t%02d", i) }
	late := func(a *arrivals, bound time.Duration) (n int) {
		for i, name := range slices.Sorted(maps.Keys(a.at)) {
			after := a.at[name][0] - time.Duration(i)*time.Second
			if after < 0 || after > bound {
				t.Errorf("%s came %v after its creation", name, after)
			}
			if after > 0 {
				n++
			}
		}
		return n
	}
	t.Run("none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if a := deliver(t, n, chaos.Settings{}); late(a, 0) != 0 || !slices.IsSorted(a.order) || len(a.order) != n {
				t.Errorf("arrivals %v", a.at)
			}
		})
	})
	t.Run("duplicate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := deliver(t, n, chaos.Settings{Seed: 1, Duplicate: 0.5})
			twice, apart := 0, 0
			for name, at := range a.at {
				switch {
				case len(at) > 2 || at[len(at)-1]-at[0] > 250*time.Millisecond:
					t.Errorf("%s came at %v", name, at)
				case len(at) == 2:
					twice++
				}
				if at[len(at)-1] > at[0] {
					apart++
				}
			}
			if twice < n/4 || twice > 3*n/4 || apart < twice/4 || apart > 3*twice/4 {
				t.Errorf("%d of %d came twice, %d of them later", twice, n, apart)
			}
		})
	})
	t.Run("delay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if n := late(deliver(t, n, chaos.Settings{Seed: 1, Delay: 0.5}), 10*time.Second); n < 10 || n > 30 {
				t.Errorf("%d were late", n)
			}
		})
	})
	t.Run("reorder", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := deliver(t, n, chaos.Settings{Seed: 1, Reorder: 0.3})
			late(a, 5*time.Second)
			overtaken := 0
			for i := range n - 1 {
				if slices.Index(a.order, name(i)) > slices.Index(a.order, name(i+1)) {
					overtaken++
				}
			}
			if overtaken < 4 || overtaken > 20 || len(a.order) != n {
				t.Errorf("%d were overtaken: %v", overtaken, a.order)
			}
		})
	})
	t.Run("reorder everything", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if n := late(deliver(t, n, chaos.Settings{Seed: 1, Reorder: 1}), 5*time.Second); n == 0 {
				t.Error("nothing waited")
			}
		})
	})
	t.Run("timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := deliver(t, n, chaos.Settings{Seed: 1, Timeout: 0.5})
			again := 0
			for _, at := range a.at {
				if len(at) > 1 {
					again++
				}
			}
			if again < n/4 || again > 3*n/4 {
				t.Errorf("%d of %d were attempted again", again, n)
			}
		})
	})
}

// What timed out says so in the task and in the next attempt; half of the
// requests are cut off.
func TestChaosTimeoutIsADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChaos(t, chaos.Settings{Seed: 1, Timeout: 1})
		cut, whole := 0, 0
		var mu sync.Mutex
		var last http.Header
		e := start(t, &cloudtasks.Options{Chaos: c}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the end of a request is noticed after its body
			timer := time.NewTimer(time.Second)
			defer timer.Stop()
			mu.Lock()
			last = r.Header.Clone()
			mu.Unlock()
			select {
			case <-r.Context().Done():
				mu.Lock()
				defer mu.Unlock()
				cut++
			case <-timer.C:
				mu.Lock()
				defer mu.Unlock()
				whole++
			}
		}))
		e.queue(nil)
		e.create(post("a"))
		time.Sleep(15 * time.Minute)
		task, err := e.get("a")
		if err != nil {
			t.Fatal(err)
		}
		if s := task.GetLastAttempt().GetResponseStatus(); codes.Code(s.GetCode()) != codes.DeadlineExceeded || !strings.Contains(s.GetMessage(), "chaos") {
			t.Errorf("the last attempt: %v", s)
		}
		mu.Lock()
		if last.Get("X-CloudTasks-TaskPreviousResponse") != "504" || cut == 0 || whole == 0 {
			t.Errorf("%d requests were cut off, %d not; the last one: %v", cut, whole, last)
		}
		mu.Unlock()
		if err := c.Set(chaos.Settings{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := e.get("a"); status.Code(err) != codes.NotFound {
			t.Errorf("after the chaos was switched off: %v", err)
		}
	})
}

// In an outage nothing can be created, or is created without the answer that says
// so; deliveries go on.
func TestChaosOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChaos(t, chaos.Settings{})
		got := new(recorder)
		e := start(t, &cloudtasks.Options{Chaos: c}, got)
		e.queue(nil)
		if err := c.Set(chaos.Settings{Seed: 1, CloudTasksOutage: 1}); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			_, err := e.tasks.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: queue1, Task: post(fmt.Sprint(i))})
			if status.Code(err) != codes.Unavailable {
				t.Errorf("task %d: %v", i, err)
			}
		}
		synctest.Wait()
		n := len(got.times())
		if n < 4 || n > 16 || c.Injected()["cloudTasksOutage"] != 20 {
			t.Errorf("%d of 20 were created after all; injected %v", n, c.Injected())
		}
	})
}

// What is due next month comes when the clock is advanced to it, and the limits of
// a task are those of the clock.
func TestAdvancedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		got := new(recorder)
		e := start(t, &cloudtasks.Options{Clock: c}, got)
		e.queue(nil)
		task := post("a")
		task.ScheduleTime = timestamppb.New(time.Now().Add(29 * 24 * time.Hour))
		e.create(task)
		c.Freeze()
		time.Sleep(30 * 24 * time.Hour)
		if n := len(got.times()); n != 0 {
			t.Fatalf("%d deliveries by a frozen clock", n)
		}
		for range 29 {
			if err := c.Advance(24*time.Hour - time.Minute); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := len(got.times()); n != 0 {
			t.Fatalf("%d deliveries half an hour early", n)
		}
		if err := c.Advance(29 * time.Minute); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(got.times()); n != 1 {
			t.Errorf("%d deliveries when it is due, want 1", n)
		}
	})
}

// Whoever checks a token goes by a clock of its own, which nobody advances.
func TestTokensKeepTheMachinesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		if err := c.Advance(48 * time.Hour); err != nil {
			t.Fatal(err)
		}
		got := new(recorder)
		e := start(t, &cloudtasks.Options{Clock: c}, got)
		e.queue(nil)
		e.create(withToken("https://audience.example"))
		synctest.Wait()
		claims := e.verify(strings.TrimPrefix(got.headers()[0].Get("Authorization"), "Bearer "))
		if iat, now := claims["iat"], float64(time.Now().Unix()); iat != now {
			t.Errorf("issued at %v, want the machine's %v", iat, now)
		}
	})
}
