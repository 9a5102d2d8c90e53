package memlock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A Locker takes locks in a Store. It may be used by any number of goroutines,
// and needs no closing: at rest it has neither a goroutine nor a timer.
type Locker struct {
	store  Store
	err    error // a configuration that cannot work: what every call answers
	agenda agenda
	settings
}

// New returns a Locker that keeps its locks in s. Nil options are the defaults.
// Options that cannot work make every call fail with the error that Err tells.
func New(s Store, o *Options) *Locker {
	set, err := o.settings()
	if s == nil && err == nil {
		err = fmt.Errorf("%w: the Store is nil", ErrInvalidOptions)
	}
	return &Locker{
		store:    s,
		err:      err,
		agenda:   agenda{every: set.every, due: make(map[*lease]time.Time)},
		settings: set,
	}
}

// Err says what is wrong with the options that New was given, or nil. It
// matches ErrInvalidOptions.
func (l *Locker) Err() error {
	if l == nil {
		return ErrNoLocker
	}
	return l.err
}

// TryWithLock tries once to take the lock of key and, having it, calls f and
// returns what f returns.
//
// Without having called f it returns ErrFailedToLock (bare) if someone else
// holds the lock; an error that matches ErrFailedToLock, ErrUnavailable and the
// cause if that could not be learnt; ErrEmptyClientID (bare); or an error that
// matches ErrInvalidKey, ErrInvalidClientID or ErrInvalidOptions.
//
// clientID names the caller to people who ask who holds the lock: at most 1,024
// bytes. A key is any string without control bytes and spaces; one that is
// longer than 250 bytes with the prefix is hashed.
//
// f's context ends with ctx, and with context.Cause ErrLost as soon as the lock
// is known to be lost; f should return then. What f starts and leaves running
// is not under the lock.
func (l *Locker) TryWithLock(ctx context.Context, key, clientID string, f func(context.Context) error) error {
	if clientID == "" {
		return ErrEmptyClientID
	}
	if err := l.Err(); err != nil {
		return err
	}
	if len(clientID) > maxClientIDLen {
		return fmt.Errorf("%w: it has %d bytes: at most %d are allowed", ErrInvalidClientID, len(clientID), maxClientIDLen)
	}
	stored, err := storedKey(l.prefix, key)
	if err != nil {
		return err
	}
	if f == nil {
		return errors.New("memlock: f is nil: there is nothing to call under the lock")
	}

	h := &lease{
		Locker:   l,
		parent:   ctx,
		key:      key,
		clientID: clientID,
		stored:   stored,
		owner:    l.owner(clientID),
	}
	if err := h.acquire(); err != nil {
		return err
	}
	defer h.finish() // on panics and runtime.Goexit too
	h.tell(h.observer.Acquired, Event{})
	return f(h.ctx)
}

// owner is what is stored: the client ID, for people, and a nonce that tells
// this call from any other with the same ID.
func (l *Locker) owner(clientID string) string {
	if l.reentrant {
		return clientID
	}
	var b [nonceLen]byte
	b[0] = nonceMark
	n := rand.Uint64()
	for i := 1; i < nonceLen; i++ {
		b[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	return clientID + string(b[:])
}

const (
	nonceMark = '~'
	nonceLen  = 1 + 16
)

// clientOf is the client ID in an owner, "" if that is not known.
func clientOf(owner string) string {
	if owner == UnknownHolder {
		return ""
	}
	if i := len(owner) - nonceLen; i > 0 && strings.IndexByte(owner[i:], nonceMark) == 0 {
		return owner[:i]
	}
	return owner
}

type contextKey struct{}

// NewContext returns a context that carries l for the package-level
// TryWithLock, for callers of the original's signature.
func NewContext(ctx context.Context, l *Locker) context.Context {
	return context.WithValue(ctx, contextKey{}, l)
}

// TryWithLock is Locker.TryWithLock of the Locker that NewContext put into ctx;
// without one it returns ErrNoLocker.
func TryWithLock(ctx context.Context, key, clientID string, f func(context.Context) error) error {
	l, _ := ctx.Value(contextKey{}).(*Locker)
	return l.TryWithLock(ctx, key, clientID, f)
}
