package memlock

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	defaultPrefix  = "memlock:"
	defaultTTL     = 16 * time.Second
	defaultTimeout = 2 * time.Second

	minTTL = 10 * time.Millisecond
	maxTTL = 24 * time.Hour
)

// Options of a Locker. Nil and the zero value are the defaults.
type Options struct {
	// Prefix starts every stored key; "" is "memlock:", as the original had it.
	// At most 186 bytes, without control bytes or spaces. Applications that
	// share a memcached need different prefixes, since it has no namespaces.
	Prefix string

	// TTL is how long the lock of a holder that died stays, and how long a
	// holder may go on without reaching the store, less the margin of an
	// eighth. 0 is 16 s; from 10 ms to 24 h. memcached counts whole seconds: an
	// entry lives up to 2 s longer.
	TTL time.Duration

	// Refresh is the longest pause between two refreshes, and so the time
	// within which a loss is noticed; each pause is drawn from its last
	// quarter. 0 is an eighth of the TTL (2 s); at most half of it.
	Refresh time.Duration

	// Timeout bounds each operation of the store: the one that takes the lock,
	// each refresh, and the one that releases it, whatever became of the
	// caller's context. 0 is 2 s.
	Timeout time.Duration

	// Reentrant lets a call in that has the client ID of the holder, as the
	// original did, for retried handlers that take their own lock back. The
	// first of them to return releases the lock for all. Off by default: two
	// duplicate deliveries with one ID would run side by side.
	Reentrant bool

	// Observer is told what happens to locks. The zero value tells nobody.
	Observer Observer

	// Logger receives a warning for each lost lock and each failed release.
	// Nil discards them.
	Logger *slog.Logger
}

// An Observer is a set of callbacks for metrics; nil ones are left out. They
// run inside the call that they report on, or, for Lost, while f's return waits
// for it: they must be quick, and may be called by many goroutines at once.
type Observer struct {
	Acquired    func(context.Context, Event) // f is about to run
	Busy        func(context.Context, Event) // someone else holds the lock
	Unavailable func(context.Context, Event) // who holds it could not be learnt
	Lost        func(context.Context, Event) // f's context has been cancelled with ErrLost
	Released    func(context.Context, Event) // f has returned, once for each Acquired
}

// An Event tells an Observer about one call of TryWithLock.
type Event struct {
	Key      string        // as the caller gave it
	ClientID string        // as the caller gave it
	Holder   string        // Busy: the client ID of who holds the lock, "" if unknown
	HeldFor  time.Duration // Lost: from the acquisition to the loss; Released: to f's return
	Err      error         // Unavailable, Lost: why; Released: why the store could not be told
}

// settings are Options with the defaults filled in.
type settings struct {
	prefix    string
	ttl       time.Duration
	margin    time.Duration // f's context ends this long before the entry may
	every     time.Duration // the longest pause between refreshes
	timeout   time.Duration
	reentrant bool
	observer  Observer
	log       *slog.Logger
}

func (o *Options) settings() (settings, error) {
	if o == nil {
		o = &Options{}
	}
	s := settings{
		prefix:    o.Prefix,
		ttl:       o.TTL,
		every:     o.Refresh,
		timeout:   o.Timeout,
		reentrant: o.Reentrant,
		observer:  o.Observer,
		log:       o.Logger,
	}
	if s.prefix == "" {
		s.prefix = defaultPrefix
	}
	if s.ttl == 0 {
		s.ttl = defaultTTL
	}
	if s.every == 0 {
		s.every = s.ttl / 8
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.margin = s.ttl / 8

	if err := checkBytes(s.prefix); err != nil {
		return s, fmt.Errorf("%w: Prefix %s: %w", ErrInvalidOptions, quote(s.prefix), err)
	}
	if len(s.prefix) > maxPrefixLen {
		return s, fmt.Errorf("%w: Prefix has %d bytes: at most %d fit in front of a hashed key",
			ErrInvalidOptions, len(s.prefix), maxPrefixLen)
	}
	if s.ttl < minTTL || s.ttl > maxTTL {
		return s, fmt.Errorf("%w: TTL %v is not between %v and %v", ErrInvalidOptions, s.ttl, minTTL, maxTTL)
	}
	if s.every < time.Millisecond || s.every > s.ttl/2 {
		return s, fmt.Errorf("%w: Refresh %v is not between %v and %v, half the TTL",
			ErrInvalidOptions, s.every, time.Millisecond, s.ttl/2)
	}
	if s.timeout < 0 {
		return s, fmt.Errorf("%w: Timeout %v is negative", ErrInvalidOptions, s.timeout)
	}
	return s, nil
}
