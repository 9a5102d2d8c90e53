package memlock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A lease is one call of TryWithLock: the lock that it has, for as long as its
// own clock says so.
type lease struct {
	*Locker
	parent        context.Context // the caller's
	ctx           context.Context // f's
	cancel        context.CancelCauseFunc
	key, clientID string
	stored, owner string
	acquired      time.Time

	mu      sync.Mutex
	state   leaseState
	end     time.Time     // when f has to be told, unless a refresh moves it
	clock   *time.Timer   // runs expire at end; started by the first tick
	lastErr error         // of a refresh, since the last good one
	told    chan struct{} // closed when the observer knows of the loss
}

type leaseState int

const (
	held    leaseState = iota
	expired            // the lease clock ended: the entry may still be ours
	taken              // the store said so: the entry is not ours
	over               // f has returned
)

var (
	errTaken   = errors.New("the entry is gone or has another owner")
	errExpired = errors.New("the lease ran out before a refresh reached the store")
)

// acquire takes the lock and starts its clock, which counts from before the
// store was asked.
func (h *lease) acquire() error {
	if h.parent.Err() != nil {
		return h.unavailable(context.Cause(h.parent))
	}
	start := time.Now()
	ctx := newBounded(h.parent, h.timeout)
	holder, err := h.store.Acquire(ctx, h.stored, h.owner, h.ttl)
	if cause := context.Cause(h.parent); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	ctx.cancel()
	if err != nil {
		return h.unavailable(err)
	}
	if holder != "" {
		h.tell(h.observer.Busy, Event{Holder: clientOf(holder)})
		return ErrFailedToLock
	}

	h.acquired = time.Now()
	h.end = start.Add(h.ttl - h.margin)
	if !h.acquired.Before(h.end) {
		_ = h.release() // the lease is over either way
		return h.unavailable(fmt.Errorf("the answer took %v, longer than the lease", h.acquired.Sub(start)))
	}
	h.ctx, h.cancel = context.WithCancelCause(h.parent)
	h.agenda.add(h, min(h.every, h.end.Sub(h.acquired))) // the first tick starts the clock
	return nil
}

func (h *lease) unavailable(err error) error {
	err = fmt.Errorf("%w: %w: %w", ErrFailedToLock, ErrUnavailable, err)
	h.tell(h.observer.Unavailable, Event{Err: err})
	return err
}

// tick refreshes the lock, when the agenda says so. An error of the store means
// "not known" and is retried until the lease clock ends, which the answer cannot
// hold up.
func (h *lease) tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != held {
		return
	}
	start := time.Now()
	if !start.Before(h.end) { // the process was suspended
		h.lose(expired, errExpired)
		return
	}
	if h.clock == nil {
		h.clock = time.AfterFunc(h.end.Sub(start), h.expire)
	}
	if h.parent.Err() != nil {
		return // f has been told to stop: the lock is not kept for it
	}

	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(h.ctx, h.timeout)
	ours, err := h.store.Extend(ctx, h.stored, h.owner, h.ttl)
	cancel()
	h.mu.Lock()

	switch {
	case h.state != held:
	case err != nil:
		h.lastErr = err
		h.agenda.add(h, h.every/4)
	case !ours:
		h.lose(taken, errTaken)
	default:
		h.lastErr = nil
		h.end = start.Add(h.ttl - h.margin)
		h.clock.Reset(time.Until(h.end))
		h.agenda.add(h, h.every)
	}
}

// expire is the lease clock: no refresh has moved the end in time.
func (h *lease) expire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != held || time.Now().Before(h.end) { // or a refresh came first
		return
	}
	err := errExpired
	if h.lastErr != nil {
		err = fmt.Errorf("%w: %w", errExpired, h.lastErr)
	}
	h.lose(expired, err)
}

// lose tells f first, then the rest of the world. It is called with h.mu held.
func (h *lease) lose(to leaseState, why error) {
	h.state = to
	told := make(chan struct{})
	h.told = told
	h.mu.Unlock()
	defer h.mu.Lock()
	defer close(told)
	h.cancel(ErrLost)
	heldFor := time.Since(h.acquired)
	h.log.LogAttrs(h.parent, slog.LevelWarn, "memlock: lost the lock",
		slog.String("key", h.key), slog.String("client", h.clientID),
		slog.Duration("held_for", heldFor), slog.Any("error", why))
	h.tell(h.observer.Lost, Event{HeldFor: heldFor, Err: why})
}

// finish ends the lease when f has returned. A refresh that is under way is not
// waited for: it and the release are conditional on the entry that they read.
func (h *lease) finish() {
	h.mu.Lock()
	was, told := h.state, h.told
	h.state = over
	h.agenda.remove(h)
	if h.clock != nil {
		h.clock.Stop()
	}
	h.mu.Unlock()
	h.cancel(nil)
	if told != nil {
		<-told // Lost is told before Released, and before TryWithLock returns
	}

	e := Event{HeldFor: time.Since(h.acquired)}
	if was != taken {
		e.Err = h.release()
	}
	h.tell(h.observer.Released, e)
}

// release frees the lock even if the caller's context has ended.
func (h *lease) release() error {
	ctx := newBounded(context.WithoutCancel(h.parent), h.timeout)
	defer ctx.cancel()
	err := h.store.Release(ctx, h.stored, h.owner)
	if err != nil {
		h.log.LogAttrs(h.parent, slog.LevelWarn, "memlock: the lock was not released: it runs out by itself",
			slog.String("key", h.key), slog.String("client", h.clientID), slog.Any("error", err))
	}
	return err
}

func (h *lease) tell(f func(context.Context, Event), e Event) {
	if f == nil {
		return
	}
	e.Key, e.ClientID = h.key, h.clientID
	f(h.parent, e)
}
