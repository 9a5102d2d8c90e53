package gaelock

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/appengine/v2/memcache"

	"github.com/latchwork/latchwork/memlock"
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
func acquire(r request) (a answer) {
	item := &memcache.Item{Key: r.key, Value: []byte(r.owner), Expiration: expiration(r.ttl)}
	for range maxRounds {
		added := memcache.Add(r.ctx, item)
		switch {
		case added == nil:
			return answer{held: true, took: true}
		case errors.Is(added, memcache.ErrNotStored):
			added = nil
		default:
			a.took = true // perhaps
		}

		seen, err := memcache.Get(r.ctx, r.key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			if added != nil { // it may be on its way still
				a.err = fmt.Errorf("gaelock: add: %w", added)
				return a
			}
			continue // it has just run out
		}
		if err != nil {
			a.err = fmt.Errorf("gaelock: get after add: %w", errors.Join(added, err))
			return a
		}
		holder := string(seen.Value)
		if holder != "" && holder != r.owner {
			return answer{holder: holder}
		}

		seen.Value, seen.Expiration = item.Value, item.Expiration
		err = memcache.CompareAndSwap(r.ctx, seen)
		switch {
		case err == nil:
			return answer{held: true, took: a.took || holder == ""}
		case errors.Is(err, memcache.ErrCASConflict) && holder == "":
			return answer{holder: memlock.UnknownHolder} // someone was faster
		case changed(err):
		default:
			a.took = a.took || holder == "" // perhaps
			a.err = fmt.Errorf("gaelock: cas: %w", err)
			return a
		}
	}
	a.err = errChanging
	return a
}

// extend renews the owner's entry.
func extend(r request) answer {
	return rewrite(r, func(seen *memcache.Item) { seen.Expiration = expiration(r.ttl) })
}

// release empties the owner's entry. A refresh that was under way may get
// between its two steps; then it looks again.
func release(r request) answer {
	a := rewrite(r, func(seen *memcache.Item) { seen.Value, seen.Expiration = []byte{}, releasedExpiration })
	a.held = false
	return a
}

// rewrite changes the owner's entry. What CAS meets decides: gone is lost, and
// changed is looked at again, since it may have been by a write of our own
// whose answer was lost.
func rewrite(r request, change func(*memcache.Item)) answer {
	for range maxRounds {
		seen, err := memcache.Get(r.ctx, r.key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			return answer{}
		}
		if err != nil {
			return answer{err: fmt.Errorf("gaelock: get: %w", err)}
		}
		if string(seen.Value) != r.owner {
			return answer{}
		}
		change(seen)
		err = memcache.CompareAndSwap(r.ctx, seen)
		switch {
		case err == nil:
			return answer{held: true}
		case changed(err):
		default:
			return answer{err: fmt.Errorf("gaelock: cas: %w", err)}
		}
	}
	return answer{err: errChanging}
}

// changed are the answers of a CAS that found another entry than was read, or
// none.
func changed(err error) bool {
	return errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrNotStored)
}
