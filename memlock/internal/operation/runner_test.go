package operation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/memlock/internal/operation"
)

var request = operation.Request{Key: "k", Owner: "a", TTL: time.Second}

func newRunner(t *testing.T, rules operation.Rules) *operation.Runner {
	t.Helper()
	rules.Package, rules.Service = "somelock", "the service"
	r, err := operation.NewRunner(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// saying is an operation that takes a second, whatever becomes of its context.
func saying(o operation.Outcome) func(context.Context, operation.Request) operation.Outcome {
	return func(context.Context, operation.Request) operation.Outcome {
		time.Sleep(time.Second)
		return o
	}
}

func TestOutcomesAndWhatIsUndone(t *testing.T) {
	unknown := errors.New("unknown")
	for _, c := range []struct {
		name   string
		o      operation.Outcome
		told   bool // undone though the caller waited for the answer
		untold bool // undone since the caller left
	}{
		{"taken", operation.Outcome{Held: true, Took: true}, false, true},
		{"taken again", operation.Outcome{Held: true}, false, false},
		{"perhaps taken", operation.Outcome{Took: true, Err: unknown}, true, true},
		{"unknown", operation.Outcome{Err: unknown}, false, false},
		{"busy", operation.Outcome{Holder: "b"}, false, false},
	} {
		for i := range 32 { // so that no outcome is left to a select's choice
			leaves := i%2 == 1
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				want := c.o
				if leaves {
					ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
					want = operation.Outcome{Err: context.DeadlineExceeded}
				}
				defer cancel()
				start := time.Now()
				undone := 0
				got := newRunner(t, operation.Rules{}).Run(ctx, request, saying(c.o), func(ctx context.Context, r operation.Request) operation.Outcome {
					undone++
					if d, ok := ctx.Deadline(); ctx.Err() != nil || !ok || d != start.Add(6*time.Second) || r != request {
						t.Errorf("%s: undo of %v in a context that is %v, until %v", c.name, r, ctx.Err(), d)
					}
					return operation.Outcome{}
				})
				if leaves && (time.Since(start) != time.Millisecond || got.Err == nil || got.Err.Error() != "somelock: the service has not answered: context deadline exceeded") {
					t.Errorf("%s: left with %v after %v", c.name, got.Err, time.Since(start))
				}
				if !errors.Is(got.Err, want.Err) || got.Holder != want.Holder || got.Held != want.Held {
					t.Errorf("%s: %+v, want %+v", c.name, got, want)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if want := leaves && c.untold || !leaves && c.told; undone > 1 || (undone == 1) != want {
					t.Errorf("%s: undone %d times, want %v (the caller left: %v)", c.name, undone, want, leaves)
				}
			})
		}
	}
}

func TestOperationsInFlightAreBounded(t *testing.T) {
	for give, want := range map[int]int{0: 256, 1: 1, 2: 2} {
		synctest.Test(t, func(t *testing.T) {
			r := newRunner(t, operation.Rules{MaxInFlight: give})
			hold := make(chan struct{})
			undo := func(context.Context, operation.Request) operation.Outcome { <-hold; return operation.Outcome{} }
			// Nobody waits for these, and one of them is being undone.
			gone, cancel := context.WithCancel(t.Context())
			var left sync.WaitGroup
			for i := range want {
				left.Go(func() {
					r.Run(gone, request, func(context.Context, operation.Request) operation.Outcome {
						if i > 0 {
							<-hold
						}
						return operation.Outcome{Took: i == 0}
					}, undo)
				})
			}
			synctest.Wait()
			cancel()
			left.Wait()

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			err := r.Run(ctx, request, func(context.Context, operation.Request) operation.Outcome {
				t.Error("one more than is allowed")
				return operation.Outcome{}
			}, nil).Err
			text := fmt.Sprintf("somelock: the service was not asked: %d operations are under way: context deadline exceeded", want)
			if !errors.Is(err, context.DeadlineExceeded) || err.Error() != text || time.Since(start) != time.Second {
				t.Errorf("one more: %v after %v, want %s after 1s", err, time.Since(start), text)
			}

			time.AfterFunc(time.Second, func() { close(hold) })
			if o := r.Run(t.Context(), request, saying(operation.Outcome{Held: true}), nil); !o.Held || time.Since(start) != 3*time.Second {
				t.Errorf("one that waits for its turn: %+v after %v", o, time.Since(start))
			}
		})
	}
}

func TestBadRequestsAreNotPerformed(t *testing.T) {
	bounded := operation.Rules{MaxKeyLen: 2, MaxTTL: time.Minute, EmptyOwner: ", and why"}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		rules operation.Rules
		ctx   context.Context
		r     operation.Request
		want  string // "" if it is performed
	}{
		{operation.Rules{}, t.Context(), operation.Request{Key: "", Owner: "a", TTL: 1}, "somelock: the key is empty"},
		{operation.Rules{}, t.Context(), operation.Request{Key: "k", Owner: "", TTL: 1}, "somelock: the owner is empty"},
		{operation.Rules{}, t.Context(), operation.Request{Key: "k", Owner: "a", TTL: 0}, "somelock: the TTL 0s is not above 0"},
		{operation.Rules{}, t.Context(), operation.Request{Key: "k", Owner: "a", TTL: -1}, "somelock: the TTL -1ns is not above 0"},
		{operation.Rules{}, ended, request, "somelock: the service was not asked: context canceled"},
		{operation.Rules{}, t.Context(), operation.Request{Key: strings.Repeat("k", 1<<16), Owner: "a", TTL: 1<<63 - 1}, ""},
		{bounded, t.Context(), operation.Request{Key: "kk", Owner: "a", TTL: time.Minute}, ""},
		{bounded, t.Context(), operation.Request{Key: "kkk", Owner: "a", TTL: 1}, "somelock: the key has 3 bytes: at most 2 are allowed"},
		{bounded, t.Context(), operation.Request{Key: "k", Owner: "", TTL: 1}, "somelock: the owner is empty, and why"},
		{bounded, t.Context(), operation.Request{Key: "k", Owner: "a", TTL: time.Minute + 1}, "somelock: the TTL 1m0.000000001s is above 1m0s"},
	} {
		performed := false
		err := newRunner(t, c.rules).Run(c.ctx, c.r, func(context.Context, operation.Request) operation.Outcome {
			performed = true
			return operation.Outcome{}
		}, nil).Err
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want || performed != (c.want == "") {
			t.Errorf("%.9q by %q for %v: %q, want %q; performed: %v", c.r.Key, c.r.Owner, c.r.TTL, got, c.want, performed)
		}
	}
}

func TestANegativeBoundIsRefused(t *testing.T) {
	r, err := operation.NewRunner(operation.Rules{Package: "somelock", MaxInFlight: -1})
	if err == nil || r != nil || err.Error() != "somelock: MaxInFlight -1 is negative" {
		t.Errorf("%v, %v", r, err)
	}
}
