package handlers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// handlerGrace is how long a handler may go on after its context has ended
// before its delivery stops waiting for it.
const handlerGrace = 5 * time.Second

var (
	errDeadline  = errors.New("handlers: the handler's deadline has passed")
	errAbandoned = fmt.Errorf("handlers: the handler ignored the end of its context for %v and was left to itself", handlerGrace)
)

// handlerError is how application code ended: with an error, or under a context
// that had ended (then Cause says why, and Err may be nil).
type handlerError struct{ Err, Cause error }

func (e *handlerError) Error() string {
	if e.Err == nil {
		return e.Cause.Error()
	}
	return e.Err.Error()
}

func (e *handlerError) Unwrap() []error { return []error{e.Err, e.Cause} }

// await runs application code on a goroutine of its own, so that code which
// ignores its context can be left behind. All its errors are *handlerError.
func await(ctx context.Context, f func(context.Context) error) error {
	result := make(chan error, 1)
	go func() { result <- guard(func() error { return f(ctx) }) }()
	var err error
	select {
	case err = <-result:
	case <-ctx.Done():
		t := time.NewTimer(handlerGrace)
		defer t.Stop()
		select {
		case err = <-result:
		case <-t.C:
			err = errAbandoned
		}
	}
	if cause := context.Cause(ctx); err != nil || cause != nil {
		return &handlerError{err, cause}
	}
	return nil
}

// panicError is a panic of application code.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.value, e.stack) }

// guard runs application code and turns its panics into errors.
func guard(f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
			return
		}
		err = errors.New("handlers: the handler ended its goroutine (runtime.Goexit)")
	}()
	err = f()
	returned = true
	return err
}
