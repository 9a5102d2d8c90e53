package redislock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchwork/latchwork/memlock/internal/operation"
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
func (s *Store) acquire(ctx context.Context, r operation.Request) (o operation.Outcome) {
	for range maxRounds {
		err := s.client.SetArgs(ctx, r.Key, r.Owner, redis.SetArgs{Mode: "NX", TTL: time.Duration(milliseconds(r.TTL)) * time.Millisecond}).Err()
		switch {
		case err == nil:
			return operation.Outcome{Held: true, Took: true}
		case errors.Is(err, redis.Nil): // there is one
		case refused(err):
			o.Err = fmt.Errorf("redislock: set: %w", err)
			return o
		default:
			o.Took = true // perhaps
		}
		lost := err

		holder, err := s.client.Get(ctx, r.Key).Result()
		switch {
		case errors.Is(err, redis.Nil):
			o.Took = false
			if !errors.Is(lost, redis.Nil) {
				o.Took = true // it may be on its way still
				o.Err = fmt.Errorf("redislock: set: %w", lost)
				return o
			}
			continue // it has just run out
		case err != nil:
			o.Err = fmt.Errorf("redislock: get: %w", err)
			return o
		case holder != r.Owner:
			return operation.Outcome{Holder: holder}
		}

		// Ours: from before, or by the SET whose answer was lost.
		switch b := s.extend(ctx, r); {
		case b.Err != nil:
			o.Err = b.Err
			return o
		case b.Held:
			return operation.Outcome{Held: true, Took: o.Took}
		}
	}
	o.Err = errChanging
	return o
}

// extend renews the owner's lock.
func (s *Store) extend(ctx context.Context, r operation.Request) operation.Outcome {
	n, err := extendScript.Run(ctx, s.client, []string{r.Key}, r.Owner, milliseconds(r.TTL)).Int()
	if err != nil {
		return operation.Outcome{Err: fmt.Errorf("redislock: extend: %w", err)}
	}
	return operation.Outcome{Held: n == 1}
}

// release deletes the owner's lock.
func (s *Store) release(ctx context.Context, r operation.Request) operation.Outcome {
	if err := releaseScript.Run(ctx, s.client, []string{r.Key}, r.Owner).Err(); err != nil {
		return operation.Outcome{Err: fmt.Errorf("redislock: release: %w", err)}
	}
	return operation.Outcome{}
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
