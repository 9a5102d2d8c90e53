package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrInjected is what Fail and Lose return when they are given no error.
var ErrInjected = errors.New("injected fault")

// A Fault stands in the way of one call: send makes it, and may be called once,
// or not at all. What the Fault returns is the caller's answer.
type Fault func(ctx context.Context, send func() error) error

// Fail answers err (nil: ErrInjected); the call is never sent.
func Fail(err error) Fault {
	return func(context.Context, func() error) error { return orInjected(err) }
}

// Lose sends the call, waits for its answer, throws that away and answers err
// (nil: ErrInjected): the call took effect, and the caller can't know.
func Lose(err error) Fault {
	return func(_ context.Context, send func() error) error {
		_ = send() // whatever it was, it is lost
		return orInjected(err)
	}
}

func orInjected(err error) error {
	if err == nil {
		return ErrInjected
	}
	return err
}

// Delay sends the call after d.
func Delay(d time.Duration) Fault {
	return func(ctx context.Context, send func() error) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return send()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A Gate holds calls until it is opened, so that a test can do something while a
// call is on its way. In a bubble, make it there.
type Gate struct {
	reached, opened         chan struct{}
	reachedOnce, openedOnce sync.Once
}

// NewGate returns a closed gate.
func NewGate() *Gate {
	return &Gate{reached: make(chan struct{}), opened: make(chan struct{})}
}

// Reached is closed when the first call stands at the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Open lets all calls pass, now and later.
func (g *Gate) Open() { g.openedOnce.Do(func() { close(g.opened) }) }

// Before holds the call before it is sent.
func (g *Gate) Before() Fault {
	return func(ctx context.Context, send func() error) error {
		if err := g.pass(ctx); err != nil {
			return err
		}
		return send()
	}
}

// After holds the answer: the call has taken effect when Reached is closed.
func (g *Gate) After() Fault {
	return func(ctx context.Context, send func() error) error {
		err := send()
		if held := g.pass(ctx); held != nil {
			return held
		}
		return err
	}
}

func (g *Gate) pass(ctx context.Context) error {
	g.reachedOnce.Do(func() { close(g.reached) })
	select {
	case <-g.opened:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A Script is a list of faults to come. The zero value is empty and lets
// everything pass. Its methods may be called concurrently.
type Script struct {
	mu    sync.Mutex
	rules []*rule
	calls map[string]int
}

type rule struct {
	name string
	nth  int // 0: every call
	seen int
	what Fault
}

// On makes the nth call of name from now on meet f: 1 is the next one, 0 means
// every one. A gRPC call is named by its method ("Commit") or in full
// ("/google.datastore.v1.Datastore/Commit"), a request by method and path
// ("POST /tasks"), what a Dialer does by "dial", "read", "write", each also with
// the address ("read 127.0.0.1:11211"); "*" names everything. When several rules
// meet one call, all count it, and the one added first acts.
func (s *Script) On(name string, nth int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, &rule{name: name, nth: nth, what: f})
}

// Calls returns how many calls of name the script has seen. Calls are counted
// under all their names.
func (s *Script) Calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name]
}

// Unused describes the rules that have never acted, and those left out because
// another one acted first.
func (s *Script) Unused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.rules {
		if r.nth > 0 || r.seen == 0 {
			out = append(out, fmt.Sprintf("call %d of %s, of which %d came", r.nth, r.name, r.seen))
		}
	}
	return out
}

// run makes the call, through the fault that is due. It reports whether there
// was one.
func (s *Script) run(ctx context.Context, names []string, send func() error) (met bool, err error) {
	f := s.next(names)
	if f == nil {
		return false, send()
	}
	return true, f(ctx, send)
}

// next counts the call and returns the fault that is due, or nil.
func (s *Script) next(names []string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	names = append(names, "*")
	for _, name := range names {
		s.calls[name]++
	}
	var due *rule
	for _, r := range s.rules {
		if !slices.Contains(names, r.name) {
			continue
		}
		r.seen++
		if due == nil && (r.nth == 0 || r.nth == r.seen) {
			due = r
		}
	}
	if due == nil {
		return nil
	}
	if due.nth > 0 {
		s.rules = slices.DeleteFunc(s.rules, func(r *rule) bool { return r == due })
	}
	return due.what
}
