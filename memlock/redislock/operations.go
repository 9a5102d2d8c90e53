package redislock

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxRounds bounds an operation on a lock that others keep changing.
const maxRounds = 4

var errChanging = errors.New("redislock: the lock kept changing")

// What the server does as one step. A script touches its one key only, so that
// it runs on a cluster, and writes nothing random, so that it replicates.
var (
	extendScript = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then
	return redis.call("PEXPIRE", KEYS[1], ARGV[2])
end
return 0`)
	releaseScript = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then
	return redis.call("DEL", KEYS[1])
end
return 0`)
)

// acquire sets the key if there is none, or looks whose it is: that is how a SET
// that landed, but whose answer was lost, is recovered.
func (s *Store) acquire(r request) (a answer) {
	for range maxRounds {
		err := s.client.SetArgs(r.ctx, r.key, r.owner, redis.SetArgs{Mode: "NX", TTL: time.Duration(milliseconds(r.ttl)) * time.Millisecond}).Err()
		switch {
		case err == nil:
			return answer{held: true, took: true}
		case errors.Is(err, redis.Nil): // there is one
		case refused(err):
			a.err = fmt.Errorf("redislock: set: %w", err)
			return a
		default:
			a.took = true // perhaps
		}
		lost := err

		holder, err := s.client.Get(r.ctx, r.key).Result()
		switch {
		case errors.Is(err, redis.Nil):
			a.took = false
			if !errors.Is(lost, redis.Nil) {
				a.took = true // it may be on its way still
				a.err = fmt.Errorf("redislock: set: %w", lost)
				return a
			}
			continue // it has just run out
		case err != nil:
			a.err = fmt.Errorf("redislock: get: %w", err)
			return a
		case holder != r.owner:
			return answer{holder: holder}
		}

		// Ours: from before, or by the SET whose answer was lost.
		switch b := s.extend(r); {
		case b.err != nil:
			a.err = b.err
			return a
		case b.held:
			return answer{held: true, took: a.took}
		}
	}
	a.err = errChanging
	return a
}

// extend renews the owner's lock.
func (s *Store) extend(r request) answer {
	n, err := extendScript.Run(r.ctx, s.client, []string{r.key}, r.owner, milliseconds(r.ttl)).Int()
	if err != nil {
		return answer{err: fmt.Errorf("redislock: extend: %w", err)}
	}
	return answer{held: n == 1}
}

// release deletes the owner's lock.
func (s *Store) release(r request) answer {
	if err := releaseScript.Run(r.ctx, s.client, []string{r.key}, r.owner).Err(); err != nil {
		return answer{err: fmt.Errorf("redislock: release: %w", err)}
	}
	return answer{}
}

// milliseconds rounds up: an expiry of 0 is an error, and a shorter one than was
// asked for a broken promise.
func milliseconds(ttl time.Duration) int64 {
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}

// refused are the answers of a server that has done nothing.
func refused(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}
