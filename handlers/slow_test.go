package handlers_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/handlers"
	"github.com/latchwork/latchwork/tasks"
)

// A caller that never finishes its body holds a connection for half a minute at
// most, on each path.
func TestSlowBodyIsBounded(t *testing.T) {
	for _, path := range []string{handlers.TasksPath + "leaf", handlers.SweepPath} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, siteOptions{handlers: []tasks.Handler{tasks.NewClass[string]("leaf", nil).HandleTx(bumper)}}, nil)
				conn, err := s.Net.DialContext(t.Context(), "tcp", "worker:8080")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				start := time.Now()
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: worker:8080\r\nContent-Length: 1000\r\n\r\nx", path)
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > time.Minute {
					t.Errorf("the connection was held for %v", took)
				}
			})
		})
	}
}

// The body's time is not the handler's: it may run longer.
func TestHandlerOutlivesTheBodysTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := tasks.NewClass[string]("slow", &tasks.ClassOptions[string]{Timeout: 3 * time.Minute})
		s := newSite(t, siteOptions{handlers: []tasks.Handler{slow.HandleThen(func(ctx context.Context, _ string) (func(*tasks.Tx) error, error) {
			select {
			case <-time.After(2 * time.Minute):
				return nil, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})}}, nil)
		if _, err := slow.Enqueue(t.Context(), s.client, "x", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.counters.Count(handlers.OutcomeCommitted); n != 1 || s.counters.Count(handlers.OutcomeInterrupted) != 0 {
			t.Errorf("committed %d times: %v", n, s.counters.All())
		}
	})
}
