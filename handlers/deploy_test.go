package handlers_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
	"github.com/latchwork/latchwork/tasks/taskstest"
)

func TestUnknownClassWhileADeployRolls(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil)
		task := w.enqueue(work, "a", nil)
		w.expect(task, 0, handlers.OutcomeUnknownClass)
		w.wantRow(task, ledgerRow{State: "absent"})
		old := w.server
		w.serve(nil, tasks.NewClass("renamed", &tasks.ClassOptions[string]{Aliases: []string{"work"}}).HandleTx(bumper)) // the new version is up
		w.expect(task, 1, handlers.OutcomeCommitted)

		w.server = old // it never comes
		lost := w.enqueue(work, "b", nil)
		sleep(7*24*time.Hour + time.Second)
		w.expect(lost, 999, handlers.OutcomeDead)
		if d := w.dead(); len(d) != 1 || d[0].Reason != "unknown-class" || d[0].Class != "work" {
			t.Errorf("dead letters %+v", d)
		}
	})
}

func TestNewerVersionWhileADeployRolls(t *testing.T) {
	v2 := tasks.NewClass("work", &tasks.ClassOptions[string]{Version: 2})
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		task := w.enqueue(v2, "a", nil)
		w.expect(task, 0, handlers.OutcomeNewerVersion)
		w.serve(nil, v2.HandleTx(bumper))
		w.expect(task, 1, handlers.OutcomeCommitted)
		w.expect(w.enqueue(work, "b", nil), 0, handlers.OutcomeCommitted) // older ones still run
	})
}

func (w *world) raw(method, path, contentType string, body []byte) int {
	r := httptest.NewRequestWithContext(w.Context(), method, path, bytes.NewReader(body))
	r.Header.Set("X-CloudTasks-TaskName", "t1")
	r.Header.Set("Authorization", contentType)
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	return rec.Code
}

func TestMalformedBody(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		bodies := map[string][]byte{
			"empty":       nil,
			"not JSON":    []byte("hello"),
			"other class": w.enqueue(tasks.NewClass[string]("other", nil), "x", nil).Request.GetTask().GetHttpRequest().GetBody(),
			"huge":        bytes.Repeat([]byte("x"), 2<<20),
			"binary":      {0xff, 0xfe, 0},
		}
		for name, body := range bodies {
			for range 2 {
				if got := w.raw("POST", "/_latchwork/tasks/work", "", body); got != 200 || w.last().Outcome != handlers.OutcomeMalformed {
					t.Errorf("%s: %d, %v (%v)", name, got, w.last().Outcome, w.last().Err)
				}
			}
		}
		dead := w.dead()
		sleep(time.Hour)
		w.raw("POST", "/_latchwork/tasks/work", "", bodies["binary"])
		for _, d := range w.dead() {
			if time.Since(d.At) < time.Hour {
				t.Errorf("a dead letter was overwritten: %+v", d)
			}
		}
		if len(dead) != len(bodies) {
			t.Errorf("%d dead letters for %d bodies that came twice each", len(dead), len(bodies))
		}
		for _, d := range dead {
			if !d.Malformed || d.Reason != "malformed" || d.Payload != nil || !strings.Contains(d.Error, "bytes") || len(d.Error) > 8<<10 {
				t.Errorf("dead letter %+v", d)
			}
			if _, err := handlers.NewDeadLetters(w.client).Redrive(w.Context(), d.Key, &handlers.RedriveOptions{MayRepeat: true}); !errors.Is(err, handlers.ErrMalformed) {
				t.Errorf("redrive: %v", err)
			}
		}
		// Without a dead letter there is no acknowledgement.
		w.rpcs.script(func(method string, n int, call func() error) error { return errUnavailable })
		if got := w.raw("POST", "/_latchwork/tasks/work", "", []byte("bye")); got != 500 {
			t.Errorf("answer %d although the dead letter could not be written", got)
		}
	})
}

func TestCallerNotVerified(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(bumper))
		for _, path := range []string{"/_latchwork/tasks/work", "/_latchwork/tasks/unknown", "/_latchwork/sweep"} {
			if got := w.raw("POST", path, "Bearer evil", []byte("hello")); got != http.StatusForbidden {
				t.Errorf("%s: %d", path, got)
			}
		}
		if n := len(w.dead()); n != 0 || w.rpcs.count("Commit") != 0 {
			t.Errorf("%d dead letters by a stranger", n)
		}
	})
}

// Shutdown waits, then cancels what is left 2 s before the end of its grace;
// that counts nothing.
func TestGracefulShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		inside := make(chan struct{}, 2)
		w.serve(nil, work.HandleTx(func(ctx context.Context, tx *tasks.Tx, name string) error {
			inside <- struct{}{}
			if name == "quick" {
				sleep(3 * time.Second)
				return bump(tx, name)
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), handlers.ErrShutdown) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return ctx.Err()
		}))
		quick, slow := w.enqueue(work, "quick", nil), w.enqueue(work, "slow", nil)
		answers := map[string]chan int{"quick": make(chan int, 1), "slow": make(chan int, 1)}
		for _, task := range []taskstest.Task{quick, slow} {
			name := strings.Trim(string(task.Envelope.Payload), `"`)
			go func() { answers[name] <- w.push(task, 0) }()
			<-inside
		}
		ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 8*time.Second || took > 9*time.Second {
			t.Errorf("shutdown took %v, want grace − 2 s", took)
		}
		if q, s := <-answers["quick"], <-answers["slow"]; q != 200 || s != 500 {
			t.Errorf("quick answered %d, slow %d", q, s)
		}
		w.wantRow(slow, ledgerRow{State: "absent"})
		w.expect(slow, 1, handlers.OutcomeShutdown) // nothing new is taken
		if _, err := w.server.Sweep(w.Context()); !errors.Is(err, handlers.ErrShutdown) {
			t.Errorf("sweep after shutdown: %v", err)
		}
	})
}

// What the headers say proves nothing: whatever it is, the dead letter is written.
func TestHeadersOfAnySizeMakeADeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.serve(nil, work.HandleTx(func(context.Context, *tasks.Tx, string) error { return tasks.Dead(errors.New("hopeless")) }))
		w.headers = func(h http.Header) {
			h.Set("X-CloudTasks-QueueName", "\xff")
			h.Set("X-CloudTasks-TaskName", strings.Repeat("x", 200<<10))
		}
		w.expect(w.enqueue(work, strings.Repeat("a", 890<<10), nil), 0, handlers.OutcomeDead)
	})
}
