package tasks

import (
	"context"
	"time"
)

// Delivery is what a handler may know about the delivery that it serves.
type Delivery struct {
	Class            string
	ID               string // the execution
	Hop              int    // +1 for each snooze, redrive, and leg of a far ETA
	TaskName         string // short name in the queue
	Queue            string // short id
	Attempt          int    // deliveries of this hop so far, this one included
	Failures         int    // counted failures before this run
	MaxAttempts      int
	ETA              time.Time // as scheduled; of a coalescing class, its slot
	EnqueuedAt       time.Time
	NotAfter         time.Time // a task that failed is not tried after this
	PreviousResponse int       // of the queue's previous attempt; 0 on the first
	TraceParent      string    // W3C traceparent of the enqueuer; "" when it had none
}

// Last reports whether one more counted failure sends the task to the dead
// letters.
func (d Delivery) Last() bool { return d.Failures+1 >= d.MaxAttempts }

type deliveryKey struct{}

// DeliveryFrom returns the delivery that ctx belongs to.
func DeliveryFrom(ctx context.Context) (Delivery, bool) {
	d, ok := ctx.Value(deliveryKey{}).(Delivery)
	return d, ok
}

// WithDelivery makes d the delivery of the returned context: for the runner
// and for tests of handlers.
func WithDelivery(ctx context.Context, d Delivery) context.Context {
	return context.WithValue(ctx, deliveryKey{}, d)
}
