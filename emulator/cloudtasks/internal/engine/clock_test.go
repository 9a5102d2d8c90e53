package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/emulator/internal/clock"
)

// Where the clock is moved, what has fallen due goes at once, and what is over is
// over; real time alone lets nothing go.
func TestTheClockIsTheEnginesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		c.Freeze()
		s := &stub{results: map[string][]Result{"fails": {failure, failure}}}
		e := open(t, s, Options{Clock: c, Dir: t.TempDir(), Fsync: "never"})
		q := settings
		q.TaskTTL = 48 * time.Hour
		must[Queue](t)(e.CreateQueue(location+"a", q, nil))
		must[Queue](t)(e.CreateQueue(location+"paused", q, nil))
		must[Queue](t)(e.PauseQueue(location + "paused"))
		for i := range 50 {
			must[Task](t)(e.CreateTask(location+"a", NewTask{Due: e.now().Add(time.Duration(i) * time.Hour)}))
			must[Task](t)(e.CreateTask(location+"paused", NewTask{ID: fmt.Sprint(i)}))
		}
		must[Task](t)(e.CreateTask(location+"a", NewTask{ID: "fails", Due: e.now().Add(90 * time.Minute)}))
		want := func(deliveries, waiting, paused int) {
			t.Helper()
			synctest.Wait()
			a, p := must[QueueStats](t)(e.QueueStats(location+"a")), must[QueueStats](t)(e.QueueStats(location+"paused"))
			if n := len(s.deliveries()); n != deliveries || a.Tasks != waiting || p.Tasks != paused {
				t.Errorf("%d deliveries, %d and %d tasks left; want %d, %d and %d", n, a.Tasks, p.Tasks, deliveries, waiting, paused)
			}
		}
		advance := func(d time.Duration) {
			t.Helper()
			if err := c.Advance(d); err != nil {
				t.Fatal(err)
			}
		}
		want(1, 50, 50)
		time.Sleep(100 * time.Hour)
		want(1, 50, 50)
		advance(90 * time.Minute)
		want(3, 49, 50) // the failure is due a second later
		advance(time.Second)
		want(4, 49, 50)
		advance(24 * time.Hour)
		want(4+1+24, 24, 50)
		advance(24 * time.Hour) // the tasks of 48 and 49 h are over before they are due
		want(4+1+24+22, 0, 0)
		c.Resume()
		must[Task](t)(e.CreateTask(location+"a", NewTask{Due: e.now().Add(time.Hour)}))
		time.Sleep(time.Hour)
		want(4+1+24+22+1, 0, 0)
	})
}
