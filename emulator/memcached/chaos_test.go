package memcached_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/emulator/memcached"
)

func newChaos(t *testing.T, s chaos.Settings) *chaos.Chaos {
	t.Helper()
	c, err := chaos.New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A lock is kept by a frozen clock, and lost when the clock passes its time to
// live.
func TestExpiryFollowsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := clock.New()
		clk.Freeze()
		_, dial := startOurs(t, &memcached.Options{Clock: clk})
		c := newClient(t, dial)
		lock := &memcache.Item{Key: "lock", Value: []byte("me"), Expiration: 60}
		wantErr(t, c.Add(lock), nil)
		time.Sleep(time.Hour)
		wantErr(t, c.Add(lock), memcache.ErrNotStored)
		for _, step := range []struct {
			d    time.Duration
			want error
		}{{58 * time.Second, memcache.ErrNotStored}, {2 * time.Second, nil}, {24 * time.Hour, nil}} {
			if err := clk.Advance(step.d); err != nil {
				t.Fatal(err)
			}
			wantErr(t, c.Add(lock), step.want)
		}
		clk.Resume()
		time.Sleep(time.Minute)
		wantErr(t, c.Add(lock), nil)
	})
}

func TestChaosEvictions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chaotic := newChaos(t, chaos.Settings{Seed: 1, Evict: 0.2})
		server, dial := startOurs(t, &memcached.Options{Chaos: chaotic})
		c := newClient(t, dial)
		lost := 0
		for range 100 {
			switch err := c.Add(&memcache.Item{Key: "lock", Value: []byte("me")}); {
			case err == nil:
				lost++ // but for the first
			case !errors.Is(err, memcache.ErrNotStored):
				t.Fatal(err)
			}
		}
		n := chaotic.Injected()["evict"]
		if n < 5 || n > 40 || lost != int(n)+1 || server.Stats().Evictions != n {
			t.Errorf("the lock was taken %d times after %d evictions; stats say %d", lost, n, server.Stats().Evictions)
		}
	})
}

// In an outage connections end, and half of the commands are carried out all the
// same.
func TestChaosOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chaotic := newChaos(t, chaos.Settings{})
		_, dial := startOurs(t, &memcached.Options{Chaos: chaotic})
		c := newClient(t, dial)
		wantErr(t, c.Set(&memcache.Item{Key: "n", Value: []byte("0")}), nil)
		if err := chaotic.Set(chaos.Settings{Seed: 1, MemcachedOutage: 1}); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			if n, err := c.Increment("n", 1); err == nil {
				t.Fatalf("answer %d in an outage", n)
			}
		}
		if err := chaotic.Set(chaos.Settings{}); err != nil {
			t.Fatal(err)
		}
		n, err := c.Increment("n", 0)
		wantErr(t, err, nil)
		if n < 10 || n > 30 || chaotic.Injected()["memcachedOutage"] != 40 {
			t.Errorf("%d of 40 increments were carried out; injected %v", n, chaotic.Injected())
		}
	})
}

// What strikes the other commands strikes the meta commands.
func TestChaosAndMetaCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chaotic := newChaos(t, chaos.Settings{})
		_, dial := startOurs(t, &memcached.Options{Chaos: chaotic})
		say := talk(t, dial)
		for _, command := range []string{"mg a v", "md a", "ma a", "ms a 1 MR\r\nx", "me a"} {
			expect(t, say("ms a 1\r\n7\r\n"), "HD\r\n")
			if err := chaotic.Set(chaos.Settings{Seed: 1, Evict: 1}); err != nil {
				t.Fatal(err)
			}
			if got := say(command + "\r\n"); got != "EN\r\n" && got != "NF\r\n" && got != "NS\r\n" {
				t.Errorf("%q finds what was evicted: %q", command, got)
			}
			if err := chaotic.Set(chaos.Settings{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := chaotic.Injected()["evict"]; n != 5 {
			t.Errorf("%d evictions, want 5", n)
		}
		if err := chaotic.Set(chaos.Settings{Seed: 1, MemcachedOutage: 1}); err != nil {
			t.Fatal(err)
		}
		expect(t, say("mg a v\r\n"), "(closed)")
	})
}
