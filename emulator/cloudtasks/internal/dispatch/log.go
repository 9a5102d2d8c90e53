package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/latchwork/latchwork/emulator/cloudtasks/internal/engine"
)

// log writes one line for an attempt. Only the first failure of a task is above
// DEBUG, so that a worker that is down costs a line a task: WARN where nobody
// answered, since the target itself may be wrong; INFO where a worker did.
func (d *Dispatcher) log(ctx context.Context, a *engine.Delivery, target string, r engine.Result, took time.Duration) {
	level, text := slog.LevelDebug, "an attempt succeeded"
	if !r.Done {
		text = "an attempt failed"
		first := a.Previous == nil && !a.Duplicate && ctx.Err() == nil // else cut short by Close
		switch {
		case first && r.Responded:
			level = slog.LevelInfo
		case first:
			level, text = slog.LevelWarn, "an attempt got no answer; later failures of this task are logged at DEBUG"
		}
	}
	if !d.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("queue", a.Queue), slog.String("task", a.ID), slog.Int("attempt", a.Attempt),
		slog.String("target", Excerpt(target)), slog.Duration("took", took),
	}
	if r.Responded {
		attrs = append(attrs, slog.Int("status", r.Status))
	}
	if a.Duplicate {
		attrs = append(attrs, slog.Bool("duplicate", true))
	}
	if !r.Done {
		attrs = append(attrs, slog.String("reason", r.Message))
	}
	d.Logger.LogAttrs(ctx, level, text, attrs...)
}
