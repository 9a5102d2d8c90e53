package gaelock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/appengine/v2/memcache"

	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/memlock/internal/operation"
)

const (
	// releasedExpiration is how long a released entry stays, empty, which is as
	// good as gone: the shortest that memcache has.
	releasedExpiration = time.Second

	// maxRounds bounds an operation on an entry that others keep changing.
	maxRounds = 4
)

var errChanging = errors.New("gaelock: the entry kept changing")

// expiration is a TTL in memcache's whole seconds. An entry of N lives between
// N-1 and N seconds: round up and add one. (0 would be for ever.)
func expiration(ttl time.Duration) time.Duration {
	return (ttl + time.Second - 1).Truncate(time.Second) + time.Second
}

// acquire adds the entry. Where there is one already, or no clear answer, it
// looks whose it is, and takes it over by CAS if it is free or the owner's: that
// is how an ADD that landed, but whose answer was lost, is recovered.
func acquire(ctx context.Context, r operation.Request) (o operation.Outcome) {
	item := &memcache.Item{Key: r.Key, Value: []byte(r.Owner), Expiration: expiration(r.TTL)}
	for range maxRounds {
		added := memcache.Add(ctx, item)
		switch {
		case added == nil:
			return operation.Outcome{Held: true, Took: true}
		case errors.Is(added, memcache.ErrNotStored):
			added = nil
		default:
			o.Took = true // perhaps
		}

		seen, err := memcache.Get(ctx, r.Key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			if added != nil { // it may be on its way still
				o.Err = fmt.Errorf("gaelock: add: %w", added)
				return o
			}
			continue // it has just run out
		}
		if err != nil {
			o.Err = fmt.Errorf("gaelock: get after add: %w", errors.Join(added, err))
			return o
		}
		holder := string(seen.Value)
		if holder != "" && holder != r.Owner {
			return operation.Outcome{Holder: holder}
		}

		seen.Value, seen.Expiration = item.Value, item.Expiration
		err = memcache.CompareAndSwap(ctx, seen)
		switch {
		case err == nil:
			return operation.Outcome{Held: true, Took: o.Took || holder == ""}
		case errors.Is(err, memcache.ErrCASConflict) && holder == "":
			return operation.Outcome{Holder: memlock.UnknownHolder} // someone was faster
		case changed(err):
		default:
			o.Took = o.Took || holder == "" // perhaps
			o.Err = fmt.Errorf("gaelock: cas: %w", err)
			return o
		}
	}
	o.Err = errChanging
	return o
}

// extend renews the owner's entry.
func extend(ctx context.Context, r operation.Request) operation.Outcome {
	return rewrite(ctx, r, func(seen *memcache.Item) { seen.Expiration = expiration(r.TTL) })
}

// release empties the owner's entry. A refresh that was under way may get
// between its two steps; then it looks again.
func release(ctx context.Context, r operation.Request) operation.Outcome {
	o := rewrite(ctx, r, func(seen *memcache.Item) { seen.Value, seen.Expiration = []byte{}, releasedExpiration })
	o.Held = false
	return o
}

// rewrite changes the owner's entry. What CAS meets decides: gone is lost, and
// changed is looked at again, since it may have been by a write of our own
// whose answer was lost.
func rewrite(ctx context.Context, r operation.Request, change func(*memcache.Item)) operation.Outcome {
	for range maxRounds {
		seen, err := memcache.Get(ctx, r.Key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			return operation.Outcome{}
		}
		if err != nil {
			return operation.Outcome{Err: fmt.Errorf("gaelock: get: %w", err)}
		}
		if string(seen.Value) != r.Owner {
			return operation.Outcome{}
		}
		change(seen)
		err = memcache.CompareAndSwap(ctx, seen)
		switch {
		case err == nil:
			return operation.Outcome{Held: true}
		case changed(err):
		default:
			return operation.Outcome{Err: fmt.Errorf("gaelock: cas: %w", err)}
		}
	}
	return operation.Outcome{Err: errChanging}
}

// changed are the answers of a CAS that found another entry than was read, or
// none.
func changed(err error) bool {
	return errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrNotStored)
}
