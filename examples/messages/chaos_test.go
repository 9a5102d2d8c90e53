package messages

import (
	"testing"
	"time"

	"github.com/latchwork/latchwork/emulator"
)

// (k) Everything goes wrong that the emulators can do wrong, one time in five to
// twenty: deliveries come twice, late, out of order or time out, commits are
// aborted or lose their answers, locks are evicted, and all three services fail
// again and again. The books balance all the same.
func TestK_BooksBalanceInChaos(t *testing.T) {
	variants(t)
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			integration(t, func(t *testing.T) {
				w := newCloud(t, mode).newWorker("worker:80", workerOptions{})
				many, fewer := 60, 40
				if !w.fake {
					many, fewer = 20, 10
				}
				messages := []string{w.send(w.names(many, "ada")...), w.send(append(w.names(fewer, "ada"), "bob")...)}
				w.chaos(emulator.ChaosSettings{
					Seed:      20261123,
					Duplicate: 0.1, Reorder: 0.1, Delay: 0.1, Timeout: 0.1, Abort: 0.1, Evict: 0.1,
					CloudTasksOutage: 0.2, DatastoreOutage: 0.05, MemcachedOutage: 0.05,
				})
				// What a lost answer leaves in the outbox waits for the sweeper, which
				// cron calls each minute.
				sweep := func() {
					if _, err := w.server.Sweep(t.Context()); err != nil {
						t.Log("a sweep met the chaos: ", err)
					}
				}
				balanced := func() bool {
					for _, m := range messages {
						if b, err := w.app.Books(t.Context(), m); err != nil || b.Balanced() != nil {
							return false
						}
					}
					return true
				}
				patience := w.span(2*time.Hour, 8*time.Minute)
				for since := time.Now(); !balanced(); sweep() {
					if time.Since(since) > patience {
						for _, m := range messages {
							b, err := w.app.Books(t.Context(), m)
							t.Logf("%+v, %v", b, err)
						}
						t.Fatalf("after %v the books don't balance", patience)
					}
					w.Advance(w.span(time.Minute, 5*time.Second))
				}
				injected := w.injected()
				for fault, n := range injected {
					if n == 0 {
						t.Errorf("%s never struck", fault)
					}
				}
				t.Logf("injected %v", injected)
				w.chaos(emulator.ChaosSettings{})
				w.Advance(w.span(2*time.Minute, 40*time.Second))
				sweep()
				for _, m := range messages {
					w.balanced(m)
				}
			})
		})
	}
}
