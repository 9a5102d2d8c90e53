package tasks

import (
	"context"
	"encoding/json"
)

// Handler is a class with its code, the payload's type erased: what
// handlers.New takes.
type Handler struct {
	spec Spec
}

// Spec describes the handler's class.
func (h Handler) Spec() Spec { return h.spec }

// Enqueue creates a task from JSON, which must decode as the class's payload.
func (h Handler) Enqueue(ctx context.Context, client *Client, payload json.RawMessage, o *EnqueueOptions) (Receipt, error) {
	return Receipt{}, errNotBuilt
}
