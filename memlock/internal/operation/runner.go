package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	defaultMaxInFlight = 256

	undoTimeout = 5 * time.Second
)

// Rules of a Runner: what its store takes, and how the errors name it.
type Rules struct {
	Package string // begins each error
	Service string // is who was asked

	// MaxInFlight bounds the operations that are under way at once, those
	// included that nobody waits for any more; 0 is 256.
	MaxInFlight int

	MaxKeyLen  int           // in bytes; 0 is no bound
	MaxTTL     time.Duration // 0 is no bound
	EmptyOwner string        // ends the error for an empty owner; may be ""
}

// A Runner runs the operations of one store.
type Runner struct {
	rules Rules
	slots chan struct{} // one for each operation under way
}

// NewRunner returns a Runner, or an error for a MaxInFlight below 0.
func NewRunner(rules Rules) (*Runner, error) {
	n := cmp.Or(rules.MaxInFlight, defaultMaxInFlight)
	if n < 0 {
		return nil, fmt.Errorf("%s: MaxInFlight %d is negative", rules.Package, n)
	}
	return &Runner{rules: rules, slots: make(chan struct{}, n)}, nil
}

// A Request is what an operation is about.
type Request struct {
	Key, Owner string
	TTL        time.Duration
}

// An Outcome is what became of a request.
type Outcome struct {
	Holder string // acquire: who has the lock, if not the owner
	Held   bool   // acquire, extend: the owner has it
	Took   bool   // acquire: the owner has it now, or may have, and had not before
	Err    error
}

// Run lets do perform a request, in a goroutine of its own, when there is room for
// it. What that took, and could not be told, undo frees again (its own outcome is
// of no interest); it is nil where do never answers Took.
func (r *Runner) Run(ctx context.Context, req Request, do, undo func(context.Context, Request) Outcome) Outcome {
	if err := r.check(ctx, req); err != nil {
		return Outcome{Err: err}
	}
	select {
	case r.slots <- struct{}{}:
	default:
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return Outcome{Err: fmt.Errorf("%s: %s was not asked: %d operations are under way: %w", r.rules.Package, r.rules.Service, cap(r.slots), ctx.Err())}
		}
	}
	outcomes := make(chan Outcome) // unbuffered: sent is received
	go func() {
		defer func() { <-r.slots }()
		o := do(ctx, req)
		told := false
		select {
		case outcomes <- o:
			told = true
		case <-ctx.Done():
		}
		if o.Took && !(o.Held && told) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			undo(ctx, req)
		}
	}()
	select {
	case o := <-outcomes:
		return o
	case <-ctx.Done():
		return Outcome{Err: fmt.Errorf("%s: %s has not answered: %w", r.rules.Package, r.rules.Service, ctx.Err())}
	}
}

func (r *Runner) check(ctx context.Context, req Request) error {
	switch {
	case req.Key == "":
		return errors.New(r.rules.Package + ": the key is empty")
	case r.rules.MaxKeyLen > 0 && len(req.Key) > r.rules.MaxKeyLen:
		return fmt.Errorf("%s: the key has %d bytes: at most %d are allowed", r.rules.Package, len(req.Key), r.rules.MaxKeyLen)
	case req.Owner == "":
		return errors.New(r.rules.Package + ": the owner is empty" + r.rules.EmptyOwner)
	case req.TTL <= 0:
		return fmt.Errorf("%s: the TTL %v is not above 0", r.rules.Package, req.TTL)
	case r.rules.MaxTTL > 0 && req.TTL > r.rules.MaxTTL:
		return fmt.Errorf("%s: the TTL %v is above %v", r.rules.Package, req.TTL, r.rules.MaxTTL)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %s was not asked: %w", r.rules.Package, r.rules.Service, err)
	}
	return nil
}
