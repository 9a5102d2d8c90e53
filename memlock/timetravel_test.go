package memlock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchwork/latchwork/emulator/emulatortest"
	"github.com/latchwork/latchwork/memlock"
)

// Advancing the emulators' clock past the lock's time to live loses the lock; the
// holder notices when it would refresh it.
func TestTimeTravelLosesTheLock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"within its time": time.Second, "past it": time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			e := emulatortest.Start(t, nil)
			locker := memlock.New(memlock.NewMemcacheStore(e.Memcache, nil), nil)
			err := locker.TryWithLock(t.Context(), "key", "me", func(ctx context.Context) error {
				if err := e.Suite.Clock().Advance(ahead); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(time.Minute):
					return nil
				}
			})
			if lost := errors.Is(err, memlock.ErrLost); lost != (ahead == time.Hour) || !lost && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
