package emulatortest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/iterator"
)

// maxListed bounds how many tasks a message lists.
const maxListed = 10

// RequireEnqueued ends the test unless the queue (its short or its full name)
// holds exactly n tasks of class, which is the last part of a task's path.
func (e *Env) RequireEnqueued(queue, class string, n int) {
	e.t.Helper()
	if !strings.Contains(queue, "/") {
		queue = e.QueueName(queue)
	}
	found := 0
	var others []string
	for task, err := range e.tasks(context.Background(), queue) {
		if err != nil {
			e.t.Fatalf("emulatortest: list %s: %v", queue, err)
			return
		}
		if classOf(task) == class {
			found++
		} else if len(others) < maxListed {
			others = append(others, classOf(task))
		}
	}
	if found != n {
		e.t.Fatalf("emulatortest: %s holds %d tasks of class %q, want %d; others: %q", queue, found, class, n, others)
	}
}

// classOf returns the last part of the path that a task is delivered to.
func classOf(task *cloudtaskspb.Task) string {
	target := task.GetAppEngineHttpRequest().GetRelativeUri()
	if r := task.GetHttpRequest(); r != nil {
		target = r.GetUrl()
	}
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	return path.Base(u.Path)
}

// tasks lists a queue.
func (e *Env) tasks(ctx context.Context, queue string) iter.Seq2[*cloudtaskspb.Task, error] {
	return func(yield func(*cloudtaskspb.Task, error) bool) {
		for it := e.Tasks.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: queue}); ; {
			task, err := it.Next()
			if errors.Is(err, iterator.Done) || !yield(task, err) || err != nil {
				return
			}
		}
	}
}

// describe says in one line where a task stands.
func describe(task *cloudtaskspb.Task) string {
	s := fmt.Sprintf("%s (%s), due %s, %d attempts, %d answers", task.GetName(), classOf(task),
		task.GetScheduleTime().AsTime().Format(time.RFC3339Nano), task.GetDispatchCount(), task.GetResponseCount())
	if last := task.GetLastAttempt().GetResponseStatus(); last != nil {
		s += fmt.Sprintf(", the last one %q", last.GetMessage())
	}
	return s
}
