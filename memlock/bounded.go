package memlock

import (
	"context"
	"sync"
	"time"
)

// A bounded context is context.WithTimeout for operations that rarely wait: the
// channel and the timer, which cost more than all the rest of a lock, are made
// when somebody asks for Done. cancel frees them.
type bounded struct {
	context.Context // the parent
	deadline        time.Time

	mu    sync.Mutex
	armed context.Context // once Done was asked for
	stop  context.CancelFunc
}

func newBounded(parent context.Context, d time.Duration) *bounded {
	return &bounded{Context: parent, deadline: time.Now().Add(d)}
}

func (b *bounded) Deadline() (time.Time, bool) {
	if d, ok := b.Context.Deadline(); ok && d.Before(b.deadline) {
		return d, true
	}
	return b.deadline, true
}

func (b *bounded) Done() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.armed == nil {
		b.armed, b.stop = context.WithDeadline(b.Context, b.deadline)
	}
	return b.armed.Done()
}

func (b *bounded) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.armed != nil {
		return b.armed.Err()
	}
	if err := b.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(b.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

func (b *bounded) cancel() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		b.stop()
	}
}
