package protocol

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/internal/journal"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestStatusOfFaults: what goes wrong beneath a request has the code that tells
// clients whether trying again may help.
func TestStatusOfFaults(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
	}{
		{fmt.Errorf("journal /data: append: %w", syscall.ENOSPC), codes.ResourceExhausted},
		{journal.ErrClosed, codes.Unavailable},
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{&storage.TooOldError{Oldest: 1}, codes.FailedPrecondition},
		{errors.New("anything else"), codes.Internal},
	} {
		if err := (partition{}).toStatus(c.err); status.Code(err) != c.code {
			t.Errorf("%v: %v; want %v", c.err, err, c.code)
		}
	}
}
