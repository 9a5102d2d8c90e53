package tasks

import (
	"errors"
	"fmt"

	"cloud.google.com/go/datastore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrContention is what a transaction's error matches (errors.Is) when
	// it collided with others on every attempt.
	ErrContention = errors.New("tasks: too much contention")
	// ErrTxDone is returned by a Tx whose function has returned or was given
	// up on.
	ErrTxDone = errors.New("tasks: the transaction is over")
)

// RuleError is input that breaks a rule. Nothing was changed.
type RuleError struct {
	What  string // e.g. "class \"mail\": Timeout"
	Value any
	Rule  string
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("tasks: %s is %v: %s", e.What, e.Value, e.Rule)
}

// TxError is trouble of a transaction's own RPCs, whatever its function made
// of it.
type TxError struct {
	RPC      error // the first such error
	AtCommit bool  // the commit's: it may have landed, unless the code is Aborted
	Func     error // what the function returned; nil at commit
}

func (e *TxError) Error() string {
	switch {
	case e.AtCommit:
		return fmt.Sprintf("tasks: commit: %v", e.RPC)
	case e.Func != nil && !errors.Is(e.Func, e.RPC):
		return fmt.Sprintf("tasks: transaction: %v (its function: %v)", e.RPC, e.Func)
	default:
		return fmt.Sprintf("tasks: transaction: %v", e.RPC)
	}
}

// Unwrap gives both errors.
func (e *TxError) Unwrap() []error {
	if e.Func == nil {
		return []error{e.RPC}
	}
	return []error{e.RPC, e.Func}
}

// Is makes contention match ErrContention.
func (e *TxError) Is(target error) bool {
	return target == ErrContention && e.Code() == codes.Aborted
}

// Code is the RPC's status.
func (e *TxError) Code() codes.Code { c, _ := rpcCode(e.RPC); return c }

// Transient reports whether the trouble says nothing about the work: the same
// call may succeed later.
func (e *TxError) Transient() bool { return transient(e.Code()) }

func transient(c codes.Code) bool {
	switch c {
	case codes.Aborted, codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return true
	case codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated:
		return true // the platform's trouble, not the work's
	}
	return false
}

// rpcCode returns the status of an error that a Datastore RPC ended with, and
// false for errors that the client library made itself (no such entity, field
// mismatch, invalid key).
func rpcCode(err error) (codes.Code, bool) {
	if errors.Is(err, datastore.ErrConcurrentTransaction) {
		return codes.Aborted, true
	}
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return s.GRPCStatus().Code(), true
	}
	return codes.OK, false
}
