package handlers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchwork/latchwork/tasks"
)

const (
	maxBody   = 1 << 20 // of a push: no queue delivers more
	nameBytes = 500     // of a queue or a task: the longest task ID
)

// push is one delivery as it came in: headers, then body.
type push struct {
	path       string // class in the URL
	queue      string
	taskName   string
	retryCount int
	previous   int
	eta        time.Time
	header     http.Header
	received   time.Time
	conflicts  int // transactions of it that ended ABORTED

	body     []byte
	envelope tasks.Envelope
}

// readHeaders takes what the queue says about its task: for logs, for
// DeliveryFrom, and for telling a crash loop. It proves nothing.
func readHeaders(r *http.Request) *push {
	p := &push{path: clip(r.PathValue("class"), nameBytes), header: r.Header, received: time.Now()}
	get := func(name string) string {
		if v := r.Header.Get("X-CloudTasks-" + name); v != "" {
			return v
		}
		return r.Header.Get("X-AppEngine-" + name)
	}
	p.queue, p.taskName = clip(get("QueueName"), nameBytes), clip(get("TaskName"), nameBytes)
	p.retryCount, _ = strconv.Atoi(get("TaskRetryCount"))
	p.previous, _ = strconv.Atoi(get("TaskPreviousResponse"))
	p.eta = parseETA(get("TaskETA"))
	return p
}

// parseETA reads seconds with decimals, to the microsecond. What it cannot read
// is "no ETA".
func parseETA(s string) time.Time {
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec < 0 || sec > 1e12 {
		return time.Time{}
	}
	micros, err := strconv.ParseInt((frac + "000000")[:6], 10, 64)
	if err != nil || micros < 0 {
		return time.Time{}
	}
	return time.UnixMicro(sec*1e6 + micros).UTC()
}

// errGone is a body that did not arrive whole.
var errGone = errors.New("handlers: the body broke off")

// readBody reads the envelope. Its error is errGone, tasks.ErrNewerFormat, or
// says why the body is malformed.
func (p *push) readBody(r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	p.body = body
	if err != nil {
		return errors.Join(errGone, err)
	}
	if p.envelope, err = tasks.DecodeEnvelope(body); err != nil {
		return err
	}
	if p.envelope.Class != p.path {
		return &tasks.RuleError{What: "envelope: class", Value: p.envelope.Class, Rule: "must be the class of the URL, " + p.path}
	}
	return nil
}

// servePush answers one delivery: verify, then body, then deliver.
func (s *Server) servePush(w http.ResponseWriter, r *http.Request) {
	p := readHeaders(r)
	outcome, err := s.admit(w, r, func(ctx context.Context) (Outcome, error) {
		err := p.readBody(r)
		bodyDone(w)
		return s.receive(ctx, p, err)
	})
	answer(w, outcome)
	s.report(r.Context(), p, outcome, err)
}

// receive takes a delivery whose body was read, with what came of that.
func (s *Server) receive(ctx context.Context, p *push, err error) (Outcome, error) {
	switch {
	case err == nil:
		return s.deliver(ctx, p)
	case errors.Is(err, errGone):
		return OutcomeInterrupted, err
	case errors.Is(err, tasks.ErrNewerFormat):
		return OutcomeNewerVersion, err
	default:
		return s.bury(ctx, p, err)
	}
}

func (s *Server) report(ctx context.Context, p *push, o Outcome, err error) {
	status, took := o.Status(), time.Since(p.received)
	level := slog.LevelDebug
	switch {
	case o == OutcomeDead || o == OutcomeMalformed:
		level = slog.LevelError
	case status != http.StatusOK && o != OutcomeBusy:
		level = slog.LevelWarn
	}
	s.log.LogAttrs(ctx, level, "delivery", slog.String("outcome", o.String()), slog.Int("status", status),
		slog.String("class", p.path), slog.String("id", p.envelope.ID), slog.Int("hop", p.envelope.Hop),
		slog.Int("attempt", p.retryCount+1), slog.String("queue", p.queue), slog.String("task", p.taskName),
		slog.Duration("took", took), slog.Any("error", err))
	if s.o.Observer != nil {
		s.o.Observer.Delivered(Event{
			Outcome: o, Status: status, Class: p.path, ID: p.envelope.ID, Hop: p.envelope.Hop,
			Attempt: p.retryCount + 1, Conflicts: p.conflicts, Took: took, Err: err,
		})
	}
}
