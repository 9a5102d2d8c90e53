package transactions

import "errors"

var (
	// ErrInvalid says that bytes never were a transaction of this server.
	ErrInvalid = errors.New("Invalid transaction.")
	// ErrClosed says that the transaction was committed, rolled back or expired.
	ErrClosed = errors.New("Transaction is invalid or closed.")
	// ErrReadOnly says that a read-only transaction was asked to write.
	ErrReadOnly = errors.New("Cannot modify entities in a read-only transaction.")
	// ErrRetryReadOnly says that previous_transaction names a read-only one.
	ErrRetryReadOnly = errors.New("Cannot retry a read-only transaction.")
	// ErrTooMany says that the bound on open transactions was reached.
	ErrTooMany = errors.New("too many open transactions: at most 100000 per database")
)

// ContentionError says that a transaction was aborted for the sake of others.
type ContentionError struct {
	EntityRow string // what it was about; "" when that was an index interval
}

func (e *ContentionError) Error() string {
	return "too much contention on these datastore entities. please try again."
}
