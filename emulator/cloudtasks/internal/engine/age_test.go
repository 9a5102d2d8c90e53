package engine

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A task that nobody takes goes when its time is up, wherever it waits.
func TestTasksExpireWhereverTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{hold: make(chan struct{})}
		e := open(t, s, Options{})
		short := settings
		short.TaskTTL, short.MaxConcurrent = time.Hour, 1
		pullShort := short
		pullShort.Pull = true
		slow := short
		slow.Rate, slow.Burst = 1.0/(24*3600), 1
		must[Queue](t)(e.CreateQueue(location+"paused", short, nil))
		must[Queue](t)(e.PauseQueue(location + "paused"))
		must[Queue](t)(e.CreateQueue(location+"pull", pullShort, nil))
		must[Queue](t)(e.CreateQueue(location+"busy", short, nil))
		must[Queue](t)(e.CreateQueue(location+"slow", slow, nil))
		must[Queue](t)(e.CreateQueue(location+"long", settings, nil))
		n := 3 * expireAtOnce
		for _, q := range []string{"paused", "pull", "busy", "slow", "long"} {
			must[Task](t)(e.CreateTask(location+q, NewTask{ID: "first"}))
			for i := range n {
				must[Task](t)(e.CreateTask(location+q, NewTask{ID: fmt.Sprint(i), Due: e.now().Add(2 * time.Hour)}))
			}
		}
		synctest.Wait()
		left := func() map[string]int {
			m := map[string]int{}
			for _, q := range e.Stats().Queues {
				m[q.Name[len(location):]] = q.Tasks
			}
			return m
		}
		time.Sleep(time.Hour - time.Second)
		if got := left(); got["paused"] != n+1 || got["busy"] != n+1 {
			t.Errorf("tasks went early: %v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		// One is running in busy and one in slow: they end with their deliveries.
		if got := left(); got["paused"] != 0 || got["pull"] != 0 || got["busy"] != 1 || got["slow"] != 1 || got["long"] != n+1 {
			t.Errorf("left after the expiry: %v", got)
		}
		if _, err := e.GetTask(location+"paused", "first"); !errors.Is(err, ErrTaskTombstoned) {
			t.Errorf("an expired task: %v", err)
		}
		s.mu.Lock()
		s.results = map[string][]Result{"first": {failure, failure, failure}}
		s.mu.Unlock()
		close(s.hold)
		synctest.Wait()
		if got := left(); got["busy"] != 0 && got["slow"] != 0 {
			t.Errorf("left after the deliveries: %v", got)
		}
	})
}

func TestTimesToLiveFollowTheSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, new(stub), Options{})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		must[Queue](t)(e.PauseQueue(location + "a"))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
		if err := e.DeleteTask(location+"a", "a"); err != nil {
			t.Fatal(err)
		}
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "b"}))
		set := func(ttl, tombstone time.Duration) {
			must[Queue](t)(e.UpdateQueue(location+"a", func(q *Queue) error {
				q.Settings.TaskTTL, q.Settings.TombstoneTTL = ttl, tombstone
				return nil
			}))
		}
		set(0, 3*time.Hour)
		time.Sleep(2 * time.Hour)
		if _, err := e.CreateTask(location+"a", NewTask{ID: "a"}); !errors.Is(err, ErrTaskTombstoned) {
			t.Errorf("a name within its 3 h: %v", err)
		}
		set(90*time.Minute, time.Hour)
		synctest.Wait()
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
		if _, err := e.GetTask(location+"a", "b"); !errors.Is(err, ErrTaskTombstoned) {
			t.Errorf("a task 30 minutes over its time: %v", err)
		}
		if _, err := e.UpdateQueue(location+"a", func(q *Queue) error { q.Settings.TaskTTL = -1; return nil }); err == nil {
			t.Error("a negative time to live is taken")
		}
	})
}

func TestTombstoneOptionOverridesQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, new(stub), Options{TaskTombstone: -1})
		long := settings
		long.TombstoneTTL = 24 * time.Hour
		must[Queue](t)(e.CreateQueue(location+"a", long, nil))
		for range 2 {
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a"}))
			synctest.Wait()
		}
	})
}

// Expiry that can't be recorded waits; it neither spins nor lets tasks go.
func TestExpiryWithoutAJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stub)
		e := open(t, s, Options{Dir: t.TempDir()})
		short := settings
		short.TaskTTL = time.Minute
		must[Queue](t)(e.CreateQueue(location+"a", short, nil))
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "a", Due: e.now().Add(2 * time.Minute)}))
		if err := e.log.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // in a spin, this would not end
		if n := len(s.deliveries()); n != 0 {
			t.Errorf("%d deliveries after the expiry", n)
		}
	})
}

// Tombstones of a queue that nobody uses any more go when their time is up.
func TestTombstonesOfAnIdleQueueGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, new(stub), Options{Unlimited: true})
		must[Queue](t)(e.CreateQueue(location+"a", settings, nil))
		for i := range 2*pruneAtOnce + 10 {
			must[Task](t)(e.CreateTask(location+"a", NewTask{ID: fmt.Sprint(i)}))
		}
		must[Task](t)(e.CreateTask(location+"a", NewTask{}))
		synctest.Wait()
		left := func() int {
			e.mu.Lock()
			defer e.mu.Unlock()
			q, _ := e.queues.Get(location + "a")
			return len(q.named.line) - q.named.head + len(q.anonymous.line) - q.anonymous.head
		}
		time.Sleep(Tombstone)
		if n := left(); n != 2*pruneAtOnce+11 {
			t.Errorf("%d tombstones before it is worth dropping them", n)
		}
		if _, err := e.GetTask(location+"a", "0"); !errors.Is(err, ErrTaskMissing) {
			t.Errorf("a name whose tombstone has expired, and is not dropped: %v", err)
		}
		time.Sleep(prunePause + 3*time.Second)
		if n := left(); n != 0 {
			t.Errorf("%d tombstones are left", n)
		}
	})
}
