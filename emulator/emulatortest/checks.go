package emulatortest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// check fails the test for what it leaves behind.
func (e *Env) check() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), e.options.Patience+10*time.Second)
	defer cancel()
	if !e.options.AllowStuckTasks {
		e.checkTasks(ctx)
	}
	if !e.options.AllowOutbox {
		e.checkOutbox()
	}
}

// checkTasks gives tasks that are due or running time to end.
func (e *Env) checkTasks(ctx context.Context) {
	e.t.Helper()
	start := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		stuck, err := e.stuckTasks(ctx)
		if err != nil {
			e.t.Errorf("emulatortest: can't look for stuck tasks (Options.AllowStuckTasks leaves this out): %v", err)
			return
		}
		if len(stuck) == 0 {
			return
		}
		if time.Since(start) >= e.options.Patience {
			more := ""
			if n := len(stuck) - maxListed; n > 0 {
				stuck, more = stuck[:maxListed], fmt.Sprintf("\n\tand %d more", n)
			}
			e.t.Errorf("emulatortest: tasks are stuck (Options.AllowStuckTasks permits it):\n\t%s%s", strings.Join(stuck, "\n\t"), more)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done(): // the next look says so
		}
	}
}

// stuckTasks describes the tasks of queues that run which are due, or under way,
// or have been tried in vain. A task that is due later and was never tried is not
// stuck, and neither is one in a paused queue.
func (e *Env) stuckTasks(ctx context.Context) ([]string, error) {
	var stuck []string
	now := e.Suite.Clock().Now()
	for _, q := range e.left() {
		for task, err := range e.tasks(ctx, q.Name) {
			if err != nil {
				return nil, err
			}
			if task.GetDispatchCount() > 0 || !task.GetScheduleTime().AsTime().After(now) {
				stuck = append(stuck, describe(task))
			}
		}
		if q.Tasks == 0 {
			stuck = append(stuck, fmt.Sprintf("%s: %d deliveries run whose tasks have ended", q.Name, q.Running))
		}
	}
	return stuck, nil
}

func (e *Env) checkOutbox() {
	e.t.Helper()
	for _, k := range e.Suite.Stats().Datastore.Kinds {
		if k.Kind == e.options.OutboxKind && k.Entities > 0 {
			e.t.Errorf("emulatortest: %d %s entities are left in project %q, namespace %q: tasks that were promised and not submitted (Options.AllowOutbox permits it)",
				k.Entities, k.Kind, k.Project, k.Namespace)
		}
	}
}
