package memlock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A bounded context is told from context.WithTimeout only by its price.
func TestBoundedIsWithTimeout(t *testing.T) {
	for _, asked := range []bool{false, true} { // for Done, before anything else
		for name, end := range map[string]struct {
			parent time.Duration // of the parent's own deadline; 0: none
			act    func(cancelParent func())
			want   error
		}{
			"not yet":              {act: func(func()) { time.Sleep(time.Second - 1) }},
			"by its time":          {act: func(func()) { time.Sleep(time.Second) }, want: context.DeadlineExceeded},
			"by the parent":        {act: func(cancel func()) { cancel() }, want: context.Canceled},
			"by the parent's time": {parent: time.Millisecond, act: func(func()) { time.Sleep(time.Millisecond) }, want: context.DeadlineExceeded},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancel(t.Context())
					defer cancel()
					if end.parent != 0 {
						var stop func()
						parent, stop = context.WithTimeout(parent, end.parent)
						defer stop()
					}
					std, stop := context.WithTimeout(parent, time.Second)
					defer stop()
					b := newBounded(parent, time.Second)
					defer b.cancel()
					if asked {
						b.Done()
					}
					got, _ := b.Deadline()
					if want, _ := std.Deadline(); !got.Equal(want) {
						t.Errorf("deadline %v, want %v", got, want)
					}
					end.act(cancel)
					synctest.Wait()
					if !errors.Is(b.Err(), end.want) || b.Err() != std.Err() {
						t.Errorf("Err = %v, want %v as %v", b.Err(), end.want, std.Err())
					}
					done := false
					select {
					case <-b.Done():
						done = true
					default:
					}
					if done != (end.want != nil) {
						t.Errorf("done: %v, with %v", done, b.Err())
					}
				})
			})
		}
	}
}
