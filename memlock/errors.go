package memlock

import "errors"

var (
	// ErrFailedToLock is returned, bare, when someone else holds the lock. An
	// error that also matches ErrUnavailable says that nobody knows.
	ErrFailedToLock = errors.New("memlock: failed to lock")

	// ErrEmptyClientID is returned, bare, for an empty client ID.
	ErrEmptyClientID = errors.New("memlock: the client ID is empty")

	// ErrUnavailable is matched, beside ErrFailedToLock and the cause, by the
	// error of a call that could not learn who holds the lock: the store is
	// down or too slow, or the caller's context ended first. f was not called.
	ErrUnavailable = errors.New("lock store unavailable")

	// ErrLost is the context.Cause of f's context after the lock was lost.
	ErrLost = errors.New("memlock: the lock was lost")

	// ErrInvalidKey is matched by the error for a key that cannot be locked:
	// the error states the rule and the key.
	ErrInvalidKey = errors.New("memlock: invalid key")

	// ErrInvalidClientID is matched by the error for a client ID that cannot
	// be stored (the empty one has ErrEmptyClientID).
	ErrInvalidClientID = errors.New("memlock: invalid client ID")

	// ErrInvalidOptions is matched by the error of every call on a Locker that
	// was made with options that cannot work, or with no store; see Locker.Err.
	ErrInvalidOptions = errors.New("memlock: invalid options")

	// ErrNoLocker is returned by the package-level TryWithLock for a context
	// that NewContext has given no Locker.
	ErrNoLocker = errors.New("memlock: the context carries no Locker: use memlock.NewContext")
)
