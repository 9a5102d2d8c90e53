package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Kind is how a handler and its transaction relate.
type Kind int

const (
	KindHandle Kind = iota + 1
	KindHandleTx
	KindHandleThen
)

// Handler is a class with its code, the payload's type erased: what
// handlers.New takes. The zero Handler is refused there.
type Handler struct {
	spec Spec
	kind Kind
	bind func(payload json.RawMessage, decode func([]byte, any) error) (Call, error)
}

// Call is a handler bound to one payload. Of the three functions the one of
// the handler's kind is set.
type Call struct {
	LockKey string // "" when the class has none of its own
	Handle  func(context.Context) error
	Tx      func(context.Context, *Tx) error
	Then    func(context.Context) (func(*Tx) error, error)

	payload json.RawMessage // as P encodes it
}

func erase[P any](c Class[P], f func(context.Context, P) error) Handler {
	return handler(c, KindHandle, f == nil, func(p P, call *Call) {
		call.Handle = func(ctx context.Context) error { return f(ctx, p) }
	})
}

func eraseTx[P any](c Class[P], f func(context.Context, *Tx, P) error) Handler {
	return handler(c, KindHandleTx, f == nil, func(p P, call *Call) {
		call.Tx = func(ctx context.Context, tx *Tx) error { return f(ctx, tx, p) }
	})
}

func eraseThen[P any](c Class[P], f func(context.Context, P) (func(*Tx) error, error)) Handler {
	return handler(c, KindHandleThen, f == nil, func(p P, call *Call) {
		call.Then = func(ctx context.Context) (func(*Tx) error, error) { return f(ctx, p) }
	})
}

func handler[P any](c Class[P], kind Kind, missing bool, set func(P, *Call)) Handler {
	spec := c.spec
	what := fmt.Sprintf("class %q: ", spec.Name)
	if missing {
		spec.err = errors.Join(spec.err, &RuleError{what + "handler", "nil", "must be a function"})
	}
	if kind == KindHandleTx && spec.Timeout > maxTxTimeout {
		spec.err = errors.Join(spec.err, &RuleError{what + "Timeout", spec.Timeout, "must be at most 240 s with HandleTx, since transactions die at 270 s; see HandleThen"})
	}
	if kind != KindHandle && !spec.Ledgered() {
		spec.err = errors.Join(spec.err, &RuleError{what + "Busy", "BusyCoalesce", "needs Handle: coalescing classes write no ledger row"})
	}
	return Handler{spec, kind, func(payload json.RawMessage, decode func([]byte, any) error) (Call, error) {
		var p P
		if err := decode(payload, &p); err != nil {
			return Call{}, &RuleError{what + "payload", clip(string(payload)), fmt.Sprintf("must decode as %T: %v", p, err)}
		}
		var call Call
		if c.lockKey != nil {
			call.LockKey = c.lockKey(p)
		}
		var err error
		if call.payload, err = encodeJSON(p); err != nil {
			return Call{}, &RuleError{what + "payload", err, "must encode as JSON"}
		}
		set(p, &call)
		return call, nil
	}}
}

// Spec describes the handler's class; its Err covers the handler, too.
func (h Handler) Spec() Spec {
	if h.kind == 0 && h.spec.err == nil {
		h.spec.err = &RuleError{"handler", "zero", "must come from Handle, HandleTx or HandleThen"}
	}
	return h.spec
}

// Kind tells which of a Call's functions is set.
func (h Handler) Kind() Kind { return h.kind }

// Bind decodes a payload. Numbers in fields of interface type arrive as
// json.Number, so that big integers stay exact.
func (h Handler) Bind(payload json.RawMessage) (Call, error) {
	if err := h.Spec().Err(); err != nil {
		return Call{}, err
	}
	return h.bind(payload, decodeJSON)
}

// Enqueue creates a task from JSON, which must decode as the class's payload. It
// comes from people: a field that the payload doesn't have is refused, where a
// delivery leaves it to newer versions.
func (h Handler) Enqueue(ctx context.Context, client *Client, payload json.RawMessage, o *EnqueueOptions) (Receipt, error) {
	if err := h.Spec().Err(); err != nil {
		return Receipt{}, err
	}
	call, err := h.bind(payload, decodeStrictly)
	if err != nil {
		return Receipt{}, err
	}
	m, err := client.newMessage(ctx, h.spec, call.payload, call.LockKey, o)
	if err != nil {
		return Receipt{}, err
	}
	return client.enqueue(ctx, m)
}
