package engine

import (
	"errors"
	"os"
	"testing"
	"time"
)

// Folders that version 1 of the format wrote, a log alone and with a checkpoint,
// are read as they were meant.
func TestFoldersOfTheFirstVersion(t *testing.T) {
	for _, name := range []string{"log", "checkpoint"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("testdata/v1/"+name)); err != nil {
				t.Fatal(err)
			}
			const ever = 1_000_000 * time.Hour
			e := open(t, new(stub), Options{Dir: dir, TaskTombstone: ever, QueueTombstone: ever})
			a := must[Queue](t)(e.GetQueue(location + "a"))
			if want := (Settings{Rate: 5.5, Burst: 6, MaxConcurrent: 7, Retry: Retry{
				MaxAttempts: -1, MinBackoff: 1000 * time.Hour, MaxBackoff: 2000 * time.Hour, MaxDoublings: 3,
			}}); a.Settings != want || string(a.Spec) != "spec a" || a.Paused {
				t.Errorf("queue a: %+v", a)
			}
			if p := must[Queue](t)(e.GetQueue(location + "paused")); !p.Paused || p.Purged == 0 {
				t.Errorf("queue paused: %+v", p)
			}
			if _, err := e.CreateQueue(location+"gone", settings, nil); !errors.Is(err, ErrQueueTombstoned) {
				t.Errorf("the deleted queue: %v", err)
			}
			for queue, ids := range map[string][]string{"a": {"deleted"}, "paused": {"purged"}} {
				for _, id := range ids {
					if _, err := e.GetTask(location+queue, id); !errors.Is(err, ErrTaskTombstoned) {
						t.Errorf("task %s: %v", id, err)
					}
				}
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			q, _ := e.queues.Get(location + "a")
			waits := q.tasks.get("waits")
			if waits == nil || string(waits.spec()) != "task spec" || waits.more != nil || !waits.named || waits.due <= waits.createdMicros() {
				t.Errorf("task waits: %+v", waits)
			}
			failed := q.tasks.get("failed")
			if failed == nil || failed.retry().MaxAttempts != 4 || failed.tries().Dispatches != 1 || failed.tries().Last.Status != 404 {
				t.Errorf("task failed: %+v", failed)
			}
		})
	}
}
