package memcached_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/google/go-cmp/cmp"

	"github.com/latchwork/latchwork/emulator/memcached"
)

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}

// Every method of the client, unmodified.
func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startOurs(t, nil)
		c := newClient(t, dial)

		wantErr(t, c.Ping(), nil)
		_, err := c.Get("k")
		wantErr(t, err, memcache.ErrCacheMiss)
		wantErr(t, c.Replace(&memcache.Item{Key: "k"}), memcache.ErrNotStored)
		wantErr(t, c.Append(&memcache.Item{Key: "k"}), memcache.ErrNotStored)
		wantErr(t, c.Delete("k"), memcache.ErrCacheMiss)
		wantErr(t, c.Touch("k", 1), memcache.ErrCacheMiss)
		wantErr(t, c.CompareAndSwap(&memcache.Item{Key: "k"}), memcache.ErrCacheMiss)

		wantErr(t, c.Add(&memcache.Item{Key: "k", Value: []byte("bc"), Flags: 1<<32 - 1}), nil)
		wantErr(t, c.Add(&memcache.Item{Key: "k"}), memcache.ErrNotStored)
		wantErr(t, c.Append(&memcache.Item{Key: "k", Value: []byte("d")}), nil)
		wantErr(t, c.Prepend(&memcache.Item{Key: "k", Value: []byte("a")}), nil)
		it, err := c.Get("k")
		wantErr(t, err, nil)
		if string(it.Value) != "abcd" || it.Flags != 1<<32-1 {
			t.Errorf("value %q, flags %d", it.Value, it.Flags)
		}

		stale := *it
		it.Value = []byte("swapped")
		wantErr(t, c.CompareAndSwap(it), nil)
		wantErr(t, c.CompareAndSwap(&stale), memcache.ErrCASConflict)
		wantErr(t, c.Delete("k"), nil)
		wantErr(t, c.CompareAndSwap(it), memcache.ErrCacheMiss)

		wantErr(t, c.Set(&memcache.Item{Key: "n", Value: []byte("7")}), nil)
		n, err := c.Increment("n", 5)
		wantErr(t, err, nil)
		if n != 12 {
			t.Errorf("incremented to %d, want 12", n)
		}
		n, err = c.Decrement("n", 100)
		wantErr(t, err, nil)
		if n != 0 {
			t.Errorf("decremented to %d, want 0", n)
		}
		_, err = c.Increment("nobody", 1)
		wantErr(t, err, memcache.ErrCacheMiss)

		wantErr(t, c.Set(&memcache.Item{Key: "empty"}), nil)
		found, err := c.GetMulti([]string{"n", "empty", "nobody"})
		wantErr(t, err, nil)
		got := map[string]string{}
		for k, it := range found {
			got[k] = string(it.Value)
		}
		if diff := cmp.Diff(map[string]string{"n": "0 ", "empty": ""}, got); diff != "" {
			t.Errorf("GetMulti (-want +got):\n%s", diff)
		}

		err = c.Set(&memcache.Item{Key: "large", Value: make([]byte, 1<<20)})
		if err == nil || !strings.Contains(err.Error(), "object too large for cache") {
			t.Errorf("a value of 1 MiB: %v", err)
		}
		wantErr(t, c.FlushAll(), nil)
		_, err = c.Get("n")
		wantErr(t, err, memcache.ErrCacheMiss)
	})
}

// What a lock with a TTL relies on.
func TestClientExpiration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startOurs(t, nil)
		c := newClient(t, dial)
		c.Timeout = time.Hour // the client's deadlines run on the fake clock too
		add := func(seconds int32) error {
			return c.Add(&memcache.Item{Key: "lock", Value: []byte("me"), Expiration: seconds})
		}

		time.Sleep(300 * time.Millisecond)
		wantErr(t, add(16), nil)
		time.Sleep(15*time.Second + 699*time.Millisecond)
		wantErr(t, add(16), memcache.ErrNotStored)
		time.Sleep(time.Millisecond) // 15.7 s after the add: the clock has ticked 16 times
		wantErr(t, add(1), nil)
		wantErr(t, c.Touch("lock", 3), nil)
		time.Sleep(2 * time.Second)
		_, err := c.GetAndTouch("lock", 0)
		wantErr(t, err, nil)
		time.Sleep(1000 * time.Hour)
		it, err := c.Get("lock")
		wantErr(t, err, nil)
		it.Value, it.Expiration = nil, 1
		wantErr(t, c.CompareAndSwap(it), nil)
		wantErr(t, add(16), memcache.ErrNotStored)
		time.Sleep(time.Second)
		wantErr(t, add(-1), nil)
		wantErr(t, add(0), nil)
		time.Sleep(1000 * time.Hour)
		wantErr(t, add(1), memcache.ErrNotStored)
	})
}

// Of all who add a key one wins, and no increment is lost.
func TestClientsCompete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startOurs(t, nil)
		c := newClient(t, dial)
		const workers, rounds = 8, 50
		wantErr(t, c.Set(&memcache.Item{Key: "sum", Value: []byte("0")}), nil)
		wantErr(t, c.Set(&memcache.Item{Key: "swaps", Value: []byte{0, 0}}), nil)
		var won, swapped atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for round := range rounds {
					switch err := c.Add(&memcache.Item{Key: fmt.Sprint("round-", round)}); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, memcache.ErrNotStored):
						t.Error(err)
					}
					if _, err := c.Increment("sum", 3); err != nil {
						t.Error(err)
					}
					it, err := c.Get("swaps")
					if err != nil {
						t.Error(err)
						return
					}
					n := int(it.Value[0])<<8 + int(it.Value[1]) + 1
					it.Value = []byte{byte(n >> 8), byte(n)}
					switch err := c.CompareAndSwap(it); {
					case err == nil:
						swapped.Add(1)
					case !errors.Is(err, memcache.ErrCASConflict):
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if won.Load() != rounds {
			t.Errorf("%d adds succeeded on %d keys", won.Load(), rounds)
		}
		sum, err := c.Increment("sum", 0)
		if err != nil || sum != 3*workers*rounds {
			t.Errorf("the sum is %d (%v), want %d", sum, err, 3*workers*rounds)
		}
		it, err := c.Get("swaps")
		if err != nil {
			t.Fatal(err)
		}
		if n := int64(it.Value[0])<<8 + int64(it.Value[1]); n != swapped.Load() {
			t.Errorf("%d swaps succeeded, %d are in the value", swapped.Load(), n)
		}
		if st := s.Stats(); st.Sets != 2+2*workers*rounds {
			t.Errorf("stats count %d sets, want %d", st.Sets, 2+2*workers*rounds)
		}
	})
}

// The least recently used entries make room; the newest is always stored.
func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const maxBytes = 1 << 20
		s, dial := startOurs(t, &memcached.Options{MaxBytes: maxBytes})
		c := newClient(t, dial)
		value := make([]byte, 10000)
		for i := range 1000 {
			key := fmt.Sprint("key-", i)
			if err := c.Add(&memcache.Item{Key: key, Value: value}); err != nil {
				t.Fatalf("add %d: %v", i, err)
			}
			if _, err := c.Get(key); err != nil {
				t.Fatalf("get %d after its add: %v", i, err)
			}
			if _, err := c.Get("key-0"); err != nil {
				t.Fatalf("key-0, used all the time, is gone after %d adds: %v", i, err)
			}
			if n := s.Stats().Bytes; n > maxBytes {
				t.Fatalf("%d bytes after %d adds, over %d", n, i, maxBytes)
			}
		}
		st := s.Stats()
		if st.Items+int(st.Evictions) != 1000 || st.Items < 60 {
			t.Errorf("%d items, %d evictions of 1000", st.Items, st.Evictions)
		}
		for i := 1000 - st.Items + 1; i < 1000; i++ { // all but key-0 are the latest
			if _, err := c.Get(fmt.Sprint("key-", i)); err != nil {
				t.Errorf("key-%d: %v", i, err)
			}
		}

		// One value as large as they get, over many small ones.
		if err := c.Set(&memcache.Item{Key: "large", Value: make([]byte, maxBytes/2-100)}); err != nil {
			t.Error(err)
		}
		if n := s.Stats().Bytes; n > maxBytes {
			t.Errorf("%d bytes, over %d", n, maxBytes)
		}
	})
}

// The smallest cache still holds the newest entry, whatever its size.
func TestEvictionOfNearlyAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startOurs(t, &memcached.Options{MaxBytes: 2048})
		c := newClient(t, dial)
		for size := range 950 {
			key := fmt.Sprint("key-", size)
			if err := c.Set(&memcache.Item{Key: key, Value: make([]byte, size)}); err != nil {
				t.Fatalf("set of %d bytes: %v", size, err)
			}
			if _, err := c.Get(key); err != nil {
				t.Fatalf("get of %d bytes: %v", size, err)
			}
			if n := s.Stats().Bytes; n > 2048 {
				t.Fatalf("%d bytes, over 2048", n)
			}
		}
	})
}
