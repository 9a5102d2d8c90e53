package memlocktest_test

import (
	"testing"
	"time"

	"github.com/latchwork/latchwork/memlock/memlocktest"
)

func TestStoreConforms(t *testing.T) {
	memlocktest.TestStoreInBubble(t, func(t *testing.T) memlocktest.Harness {
		s := memlocktest.NewStore()
		return memlocktest.Harness{
			Store: s,
			Steal: func(key, owner string) error { s.Steal(key, owner, time.Minute); return nil },
			Evict: func(key string) error { s.Evict(key); return nil },
			Wait:  time.Sleep,
		}
	})
}
