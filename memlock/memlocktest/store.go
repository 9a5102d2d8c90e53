package memlocktest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Store is a memlock.Store in memory, for tests of code that takes locks. It
// keeps time by time.Now, so that a synctest bubble drives it, and can play
// what happens to a real one. The zero value is ready to use.
type Store struct {
	mu      sync.Mutex
	entries map[string]entry
	offset  time.Duration // of the store's clock to the real one
	outage  error
}

type entry struct {
	owner   string
	expires time.Time
}

// NewStore returns an empty Store.
func NewStore() *Store { return &Store{} }

// Acquire implements memlock.Store.
func (s *Store) Acquire(ctx context.Context, key, owner string, ttl time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx, key, ttl); err != nil {
		return "", err
	}
	if holder := s.owner(key); holder != "" && holder != owner {
		return holder, nil
	}
	s.put(key, owner, ttl)
	return "", nil
}

// Extend implements memlock.Store.
func (s *Store) Extend(ctx context.Context, key, owner string, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx, key, ttl); err != nil {
		return false, err
	}
	if s.owner(key) != owner {
		return false, nil
	}
	s.put(key, owner, ttl)
	return true, nil
}

// Release implements memlock.Store.
func (s *Store) Release(ctx context.Context, key, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx, key, time.Second); err != nil {
		return err
	}
	if s.owner(key) == owner {
		delete(s.entries, key)
	}
	return nil
}

// Owner is what is stored under key: "" if the lock is free. The Locker's owner
// starts with the client ID; the key has the Locker's prefix ("memlock:").
func (s *Store) Owner(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner(key)
}

// Steal gives the lock to owner, whoever has it, for ttl.
func (s *Store) Steal(key, owner string, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, owner, ttl)
}

// Evict drops the entry of key, as a cache may at any time.
func (s *Store) Evict(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
}

// SetOutage makes every operation fail with err, until it is called with nil.
func (s *Store) SetOutage(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = err
}

// StepClock moves the store's clock by d, as an operator may move a server's.
func (s *Store) StepClock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

func (s *Store) check(ctx context.Context, key string, ttl time.Duration) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if key == "" {
		return fmt.Errorf("memlocktest: the key is empty")
	}
	if ttl <= 0 {
		return fmt.Errorf("memlocktest: the TTL %v is not above 0", ttl)
	}
	return s.outage
}

func (s *Store) owner(key string) string {
	e, ok := s.entries[key]
	if !ok || !s.now().Before(e.expires) {
		return ""
	}
	return e.owner
}

func (s *Store) put(key, owner string, ttl time.Duration) {
	if s.entries == nil {
		s.entries = make(map[string]entry)
	}
	s.entries[key] = entry{owner, s.now().Add(ttl)}
}

func (s *Store) now() time.Time { return time.Now().Add(s.offset) }
