package doctor

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/datastore"
	"cloud.google.com/go/datastore/apiv1/datastorepb"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
)

// Bounds of what waits in the outbox: the sweeper comes each minute.
const (
	outboxMost = 5 * time.Minute // older, and something is wrong
	outboxRead = 1000            // entities; each may hold a megabyte
)

// leftovers is what was read of the outbox.
type leftovers struct {
	entities int
	more     bool // there are more than were read
	oldest   tasks.OutboxEntry
	refused  []tasks.OutboxEntry
}

func (s *session) scanOutbox(ctx context.Context) (*leftovers, error) {
	l := new(leftovers)
	for e, err := range s.Outbox.Outbox(ctx, outboxRead+1) {
		if err != nil {
			return l, fmt.Errorf("read the outbox after %d entities: %w", l.entities, err)
		}
		if l.entities == outboxRead {
			l.more = true
			break
		}
		l.entities++
		if l.oldest.Key == "" || e.CreatedAt.Before(l.oldest.CreatedAt) {
			l.oldest = e
		}
		if e.Error != "" {
			l.refused = append(l.refused, e)
		}
	}
	return l, nil
}

func (l *leftovers) count() string {
	switch {
	case l.entities == 0:
		return "empty"
	case l.more:
		return fmt.Sprintf("over %d transactions' tasks wait", l.entities)
	case l.entities == 1:
		return "the tasks of 1 transaction wait"
	}
	return fmt.Sprintf("the tasks of %d transactions wait", l.entities)
}

// sweepNow starts the sweeper.
func (s *session) sweepNow() string {
	switch {
	case s.emulated():
		return "latchwork serve  # sweeps each minute"
	case s.Target == tasks.TargetAppEngine:
		return "gcloud app deploy cron.yaml --project=" + quote(s.Project)
	default:
		return fmt.Sprintf("gcloud scheduler jobs list %s\ngcloud scheduler jobs run latchwork-sweep %s  # or whichever calls %s", s.at(), s.at(), handlers.SweepPath)
	}
}

// outboxAge: is what a transaction committed submitted soon?
func (s *session) outboxAge(context.Context) Finding {
	l := look("the age of the oldest of the " + tasks.OutboxKind + " entities")
	left, err := s.left()
	if left.entities > 0 {
		if age := time.Since(left.oldest.CreatedAt); age > outboxMost {
			return l.fail(s.sweepNow(), "%s, the oldest (%s) for %v: the sweeper should have submitted them within minutes",
				left.count(), left.oldest.Key, age.Round(time.Second))
		}
	}
	if err != nil {
		return l.fail("latchwork doctor", "%s", s.words(err))
	}
	return l.ok("%s; none for longer than %v", left.count(), outboxMost)
}

// outboxErrors: does the queue refuse what waits?
func (s *session) outboxErrors(context.Context) Finding {
	l := look("the errors in the " + tasks.OutboxKind + " entities")
	left, err := s.left()
	if n := len(left.refused); n > 0 {
		e := left.refused[0]
		return l.fail("latchwork queues diff  # a queue that isn't there is the likeliest reason; the sweeper tries again by itself",
			"the queue refuses the tasks of %s; the first, %s, was tried %s, next at %s, because: %s", count(n, "transaction"), e.Key, count(e.Attempts, "time"), e.NextTry.UTC().Format(time.RFC3339), oneLine(e.Error))
	}
	if err != nil {
		return l.fail("latchwork doctor", "%s", s.words(err))
	}
	return l.ok("%s; none refused by the queue", left.count())
}

// deadLettersMost is up to where dead letters are counted.
const deadLettersMost = 10_000

// deadLetters: does something wait for people?
func (s *session) deadLetters(ctx context.Context) Finding {
	l := look("the number of " + handlers.DeadKind + " entities")
	q := datastore.NewQuery(handlers.DeadKind).Namespace(s.Namespace).Limit(deadLettersMost).NewAggregationQuery().WithCount("n")
	result, err := s.Datastore.RunAggregationQuery(ctx, q)
	if err != nil {
		return l.fail("latchwork dead list", "count the dead letters: %s", s.words(err))
	}
	n := int64(0)
	if v, ok := result["n"].(*datastorepb.Value); ok {
		n = v.GetIntegerValue()
	}
	switch {
	case n == deadLettersMost:
		return l.warn("latchwork dead list", "%d tasks or more failed for good", n)
	case n > 0:
		return l.warn("latchwork dead list", "%s failed for good", count(int(n), "task"))
	}
	return l.ok("none")
}
