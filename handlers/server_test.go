package handlers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/memlocktest"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

func TestNewRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		plain := func(name string, o *tasks.ClassOptions[string]) tasks.Handler {
			return tasks.NewClass(name, o).Handle(func(context.Context, string) error { return nil })
		}
		noDatastore, err := tasks.NewClient(nil, &taskstest.Queue{}, &tasks.ClientOptions{Project: "p", Location: "l", URL: "http://x"})
		if err != nil {
			t.Fatal(err)
		}
		locker := memlock.New(memlocktest.NewStore(), nil)
		tests := []struct {
			name, rule string
			c          *tasks.Client
			l          *memlock.Locker
			v          handlers.Verifier
			hs         []tasks.Handler
			o          *handlers.Options
		}{
			{"no client", "Datastore", nil, locker, anyone{}, nil, nil},
			{"no Datastore", "Datastore", noDatastore, locker, anyone{}, nil, nil},
			{"no locker", "Locker", w.client, nil, anyone{}, nil, nil},
			{"bad locker", "TTL", w.client, memlock.New(memlocktest.NewStore(), &memlock.Options{TTL: 1}), anyone{}, nil, nil},
			{"no verifier", "Verifier", w.client, locker, nil, nil, nil},
			{"zero handler", "must come from", w.client, locker, anyone{}, []tasks.Handler{{}}, nil},
			{"bad class", "MaxAge", w.client, locker, anyone{}, []tasks.Handler{plain("a", &tasks.ClassOptions[string]{MaxAge: -1})}, nil},
			{"HandleTx over 240 s", "240 s", w.client, locker, anyone{}, []tasks.Handler{tasks.NewClass("a", &tasks.ClassOptions[string]{Timeout: time.Hour}).HandleTx(bumper)}, nil},
			{"name twice", `"a" is served twice`, w.client, locker, anyone{}, []tasks.Handler{plain("a", nil), plain("a", nil)}, nil},
			{"alias twice", `"a" is served twice`, w.client, locker, anyone{}, []tasks.Handler{plain("a", nil), plain("b", &tasks.ClassOptions[string]{Aliases: []string{"a"}})}, nil},
			{"the sweeper's name", "latchwork-sweep", w.client, locker, anyone{}, []tasks.Handler{plain("latchwork-sweep", nil)}, nil},
			{"request timeout", "RequestTimeout", w.client, locker, anyone{}, nil, &handlers.Options{RequestTimeout: -1}},
			{"shards", "SweepShards", w.client, locker, anyone{}, nil, &handlers.Options{SweepShards: 257}},
			{"sweep queue", "Queue", w.client, locker, anyone{}, nil, &handlers.Options{SweepQueue: "a b"}},
		}
		for _, tt := range tests {
			if s, err := handlers.New(tt.c, tt.l, tt.v, tt.hs, tt.o); s != nil || err == nil || !strings.Contains(err.Error(), tt.rule) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.rule)
			}
		}
		s, err := handlers.New(w.client, locker, anyone{}, []tasks.Handler{plain("a", nil), plain("b", &tasks.ClassOptions[string]{Queue: "mail"})}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"default", "mail"}, s.Queues()); diff != "" {
			t.Errorf("Queues (-want +got):\n%s", diff)
		}
	})
}

// Only what the server promises to answer is answered.
func TestRoutes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil)
		for path, want := range map[string]int{
			"GET /_latchwork/tasks/work":    405,
			"PUT /_latchwork/tasks/work":    405,
			"POST /_latchwork/tasks/":       404,
			"POST /_latchwork/tasks/a/b":    404,
			"POST /_latchwork/tasks/%2e%2e": 200, // malformed: no envelope names it
			"GET /_latchwork/sweep":         200,
			"DELETE /_latchwork/sweep":      405,
			"POST /":                        404,
		} {
			method, target, _ := strings.Cut(path, " ")
			if got := w.raw(method, target, "", nil); got != want {
				t.Errorf("%s: %d, want %d", path, got, want)
			}
		}
	})
}

func TestCounters(t *testing.T) {
	var c handlers.Counters
	for _, e := range []handlers.Event{{Outcome: handlers.OutcomeCommitted, Conflicts: 2}, {Outcome: handlers.OutcomeBusy, Conflicts: 1}, {Outcome: handlers.OutcomeBusy}, {Outcome: -1}, {Outcome: 1000}} {
		c.Delivered(e)
	}
	if diff := cmp.Diff(map[handlers.Outcome]int64{handlers.OutcomeCommitted: 1, handlers.OutcomeBusy: 2}, c.All()); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	if c.Conflicts() != 3 || c.Count(-1) != 0 {
		t.Errorf("%d conflicts", c.Conflicts())
	}
}

func TestRunSweeper(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			_, err := work.EnqueueTx(tx, "a", nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.queue.Refuse = nil
		ctx, cancel := context.WithCancel(w.Context())
		done := make(chan struct{})
		go func() { w.server.RunSweeper(ctx, 0); close(done) }()
		sleep(59 * time.Second)
		if n := len(w.queue.Tasks("")); n != 0 {
			t.Errorf("swept before the first minute")
		}
		sleep(2 * time.Second)
		if n := len(w.queue.Tasks("")); n != 1 {
			t.Errorf("%d tasks after a minute", n)
		}
		cancel()
		<-done
	})
}

// Sweeps go on without memcached: to submit twice is harmless.
func TestSweepWithoutMemcached(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		w.queue.Refuse = func(*cloudtaskspb.CreateTaskRequest) error { return status.Error(codes.Unavailable, "gone") }
		err := w.client.RunInTransaction(w.Context(), func(tx *tasks.Tx) error {
			_, err := work.EnqueueTx(tx, "a", nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.queue.Refuse = nil
		sleep(time.Minute)
		w.locks.SetOutage(errors.New("gone"))
		if r, err := w.server.Sweep(w.Context()); err != nil || r.Submitted != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestUnledgeredVerdicts(t *testing.T) {
	class := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(s string) string { return s }})
	tests := []struct {
		name  string
		err   error
		want  handlers.Outcome
		tasks int // in the queue afterwards
		dead  int
	}{
		{"failure", errors.New("no luck"), handlers.OutcomeFailed, 1, 0},
		{"snooze", tasks.Snooze(time.Minute), handlers.OutcomeSnoozed, 2, 0},
		{"cancel", tasks.Cancel(errors.New("no")), handlers.OutcomeCancelled, 1, 0},
		{"dead", tasks.Dead(errors.New("no")), handlers.OutcomeDead, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.serve(nil, class.Handle(func(context.Context, string) error { return tt.err }))
				task := w.enqueue(class, "7", nil)
				for range 30 { // no ledger, no count
					w.expect(task, 50, tt.want)
				}
				w.wantRow(task, ledgerRow{State: "absent"})
				if n, d := len(w.queue.Tasks("")), w.dead(); n != tt.tasks || len(d) != tt.dead {
					t.Errorf("%d tasks, dead letters %+v", n, d)
				}
				if tt.dead == 1 {
					if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), task.Envelope.Key(), nil); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// A far ETA of a coalescing class is reached in legs, too.
func TestUnledgeredLeg(t *testing.T) {
	class := tasks.NewClass("shard", &tasks.ClassOptions[string]{Busy: tasks.BusyCoalesce, Slot: 4 * time.Second, LockKey: func(s string) string { return s }})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, class.Handle(func(context.Context, string) error { return errors.New("too early") }))
		task := w.enqueue(class, "7", &tasks.EnqueueOptions{ETA: time.Now().Add(30 * 24 * time.Hour)})
		sleep(time.Until(task.Due))
		w.expect(task, 0, handlers.OutcomeLeg)
		if next := w.task("shard", 1); time.Until(next.Due) > 10*24*time.Hour || !next.Envelope.LegTo.IsZero() {
			t.Errorf("next leg %+v", next)
		}
	})
}

func TestRequestTimeoutBoundsHandlers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(&handlers.Options{RequestTimeout: 10 * time.Second}, work.Handle(func(ctx context.Context, s string) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		task := w.enqueue(work, "a", nil)
		start := time.Now()
		ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second) // the platform ends the request
		defer cancel()
		status := w.pushTo(w.server, ctx, task, 0)
		if o := w.last().Outcome; o != handlers.OutcomeTimedOut || status != 500 {
			t.Errorf("outcome %v, answer %d", o, status)
		}
		if took := time.Since(start); took != 9*time.Second {
			t.Errorf("the handler ran %v, want until a second before the platform's limit", took)
		}
		w.wantRow(task, ledgerRow{Failures: 1})
	})
}
