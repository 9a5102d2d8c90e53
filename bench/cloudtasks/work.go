package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	location  = "projects/bench/locations/here"
	unlimited = location + "/queues/unlimited" // but for its concurrency
	fast      = location + "/queues/fast"      // 500 a second
)

// handler is where tasks are delivered to: it counts.
type handler struct {
	url     string
	server  *http.Server
	arrived atomic.Int64
	each    atomic.Pointer[func()] // when not nil, called for each
}

func newHandler(ctx context.Context) (*handler, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &handler{url: "http://" + l.Addr().String() + "/work"}
	h.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		h.arrived.Add(1)
		if each := h.each.Load(); each != nil {
			(*each)()
		}
	})}
	go func() { _ = h.server.Serve(l) }()
	return h, nil
}

// until waits for n arrivals.
func (h *handler) until(ctx context.Context, n int64) error {
	for h.arrived.Load() < n {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Microsecond):
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// create makes a task of the size that small programs have.
func (s *server) create(ctx context.Context, queue, url string, at time.Time) error {
	t := &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
		Url: url, Body: make([]byte, 100), Headers: map[string]string{"Content-Type": "application/json"},
	}}}
	if !at.IsZero() {
		t.ScheduleTime = timestamppb.New(at)
	}
	_, err := s.client.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: t})
	return err
}

// each calls f n times from so many callers, and returns the first error.
func each(ctx context.Context, callers, n int, f func(ctx context.Context) error) error {
	var left atomic.Int64
	left.Store(int64(n))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				if err := f(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// figure is what one repetition measured.
type figure struct {
	perSecond float64
	cpu       time.Duration // of the server, per operation
}

// during calls f from so many callers for so long.
func during(ctx context.Context, s *server, callers int, length time.Duration, f func(ctx context.Context) error) (figure, error) {
	var done atomic.Int64
	cpu, begin := s.cpu(), time.Now()
	err := each(ctx, callers, 1<<62, func(ctx context.Context) error {
		if time.Since(begin) >= length {
			return errEnough
		}
		err := f(ctx)
		if err == nil {
			done.Add(1)
		}
		return err
	})
	if !errors.Is(err, errEnough) {
		return figure{}, err
	}
	n := float64(done.Load())
	return figure{n / time.Since(begin).Seconds(), time.Duration(float64(s.cpu()-cpu) / n)}, nil
}

// creates measures CreateTask of tasks that are due in an hour.
func creates(callers int) func(context.Context, *server, *handler, time.Duration) (figure, error) {
	return func(ctx context.Context, s *server, h *handler, length time.Duration) (figure, error) {
		later := time.Now().Add(time.Hour)
		return during(ctx, s, callers, length, func(ctx context.Context) error { return s.create(ctx, fast, h.url, later) })
	}
}

// delivers measures creation and delivery together, from the first call to the
// last arrival.
func delivers(ctx context.Context, s *server, h *handler, length time.Duration) (figure, error) {
	const callers = 32
	if s.kind == bare {
		p := newPoster(callers)
		defer p.CloseIdleConnections()
		return during(ctx, s, callers, length, func(ctx context.Context) error {
			if err := s.create(ctx, unlimited, h.url, time.Time{}); err != nil {
				return err
			}
			return p.post(ctx, h.url)
		})
	}
	before, cpu, begin := h.arrived.Load(), s.cpu(), time.Now()
	f, err := during(ctx, s, callers, length, func(ctx context.Context) error { return s.create(ctx, unlimited, h.url, time.Time{}) })
	if err != nil {
		return f, err
	}
	n := f.perSecond * length.Seconds()
	created := before + int64(n)
	if err := h.until(ctx, created-int64(n/1000)); err != nil { // n is rounded
		return f, err
	}
	n = float64(h.arrived.Load() - before)
	return figure{n / time.Since(begin).Seconds(), time.Duration(float64(s.cpu()-cpu) / n)}, nil
}

// instant measures how fast tasks go that are due at one instant. Bare, it is as
// many requests by 32 senders.
func instant(ctx context.Context, s *server, h *handler, _ time.Duration) (figure, error) {
	const n = 20_000
	if s.kind == bare {
		p := newPoster(32)
		defer p.CloseIdleConnections()
		begin := time.Now()
		err := each(ctx, 32, n, func(ctx context.Context) error { return p.post(ctx, h.url) })
		return figure{perSecond: n / time.Since(begin).Seconds()}, err
	}
	at, err := ahead(ctx, s, h, n)
	if err != nil {
		return figure{}, err
	}
	before := h.arrived.Load()
	if err := pause(ctx, time.Until(at)-50*time.Millisecond); err != nil {
		return figure{}, err
	}
	cpu := s.cpu()
	if err := h.until(ctx, before+n); err != nil {
		return figure{}, err
	}
	return figure{n / time.Since(at).Seconds(), (s.cpu() - cpu) / n}, nil
}

// ahead makes n tasks that are due at one instant, which it returns before that
// has come: the more time a machine needs for it, the later it is.
func ahead(ctx context.Context, s *server, h *handler, n int) (at time.Time, err error) {
	for lead := 5 * time.Second; lead < 2*time.Minute; lead *= 2 {
		before := h.arrived.Load()
		at = time.Now().Add(lead)
		if err := each(ctx, 32, n, func(ctx context.Context) error { return s.create(ctx, unlimited, h.url, at) }); err != nil {
			return at, err
		}
		if time.Until(at) > 200*time.Millisecond {
			return at, nil
		}
		if err := h.until(ctx, before+int64(n)); err != nil {
			return at, err
		}
	}
	return at, fmt.Errorf("%d tasks could not be made in a minute", n)
}

// steady measures what a queue of 500 a second delivers, once its burst is used.
func steady(ctx context.Context, s *server, h *handler, length time.Duration) (figure, error) {
	if s.kind == bare {
		return figure{}, errNone
	}
	length = max(length, 2*time.Second)
	n := int(500*length.Seconds()) + 2000
	before := h.arrived.Load()
	if err := each(ctx, 32, n, func(ctx context.Context) error { return s.create(ctx, fast, h.url, time.Time{}) }); err != nil {
		return figure{}, err
	}
	begin, from, cpu := time.Now(), h.arrived.Load(), s.cpu()
	if err := pause(ctx, length); err != nil {
		return figure{}, err
	}
	took, made := time.Since(begin), h.arrived.Load()-from
	used := s.cpu() - cpu
	err := h.until(ctx, before+int64(n))
	return figure{float64(made) / took.Seconds(), used / time.Duration(max(made, 1))}, err
}

// latencies measures the way from the call of CreateTask to the handler, fifty
// times a second.
func latencies(ctx context.Context, s *server, h *handler, length time.Duration) (p50, p99 time.Duration, err error) {
	arrived := make(chan time.Time, 1)
	note := func() { arrived <- time.Now() }
	h.each.Store(&note)
	defer h.each.Store(nil)
	p := newPoster(1)
	defer p.CloseIdleConnections()
	tick := time.NewTicker(time.Second / 50)
	defer tick.Stop()
	var took []time.Duration
	for end := time.Now().Add(length); time.Now().Before(end); {
		<-tick.C
		begin := time.Now()
		if err := s.create(ctx, unlimited, h.url, time.Time{}); err != nil {
			return 0, 0, err
		}
		if s.kind == bare {
			if err := p.post(ctx, h.url); err != nil {
				return 0, 0, err
			}
		}
		select {
		case at := <-arrived:
			took = append(took, at.Sub(begin))
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100], nil
}
