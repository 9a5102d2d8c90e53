package memlock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/bradfitz/gomemcache/memcache"
)

const (
	// releasedExpiration is how long a released entry stays, empty, which is as
	// good as gone. It replaces a conditional delete, which memcached lacks.
	releasedExpiration = 1

	// maxRounds bounds an operation on an entry that others keep changing.
	maxRounds = 4
)

var errChanging = errors.New("memcached: the entry kept changing")

// acquire adds the entry. Where there is one already, or no clear answer, it
// looks whose it is, and takes it over by cas if it is free or the owner's: that
// is how an add that landed, but whose answer was lost, is recovered.
func acquire(s *MemcacheStore, r request) (a answer) {
	redials := 1
	item := &memcache.Item{Key: r.key, Value: []byte(r.owner), Expiration: r.exp}
	for range maxRounds {
		added := s.client.Add(item)
		switch {
		case added == nil:
			return answer{held: true, took: true}
		case errors.Is(added, memcache.ErrNotStored):
			added = nil
		case neverSent(added):
			a.err = fmt.Errorf("memcached: add: %w", added)
			return a
		default:
			a.took = true // perhaps
			if s.redial(added, &redials) {
				continue
			}
		}

		seen, err := s.get(r, &redials)
		if errors.Is(err, memcache.ErrCacheMiss) {
			a.took = false
			if added != nil {
				a.err = fmt.Errorf("memcached: add: %w", added)
				return a
			}
			continue // it has just run out
		}
		if err != nil {
			a.err = fmt.Errorf("memcached: get after add: %w", errors.Join(added, err))
			return a
		}
		holder := string(seen.Value)
		if holder != "" && holder != r.owner {
			return answer{holder: holder}
		}

		seen.Value, seen.Expiration = item.Value, r.exp
		err = s.cas(r, seen)
		switch {
		case err == nil:
			return answer{held: true, took: a.took || holder == ""}
		case errors.Is(err, memcache.ErrCASConflict) && holder == "":
			return answer{holder: UnknownHolder} // someone was faster
		case changed(err):
		default:
			a.took = a.took || holder == "" // perhaps
			if !s.redial(err, &redials) {
				a.err = fmt.Errorf("memcached: cas: %w", err)
				return a
			}
		}
	}
	a.err = errChanging
	return a
}

// extend renews the owner's entry.
func extend(s *MemcacheStore, r request) answer {
	return s.rewrite(r, func(seen *memcache.Item) { seen.Expiration = r.exp })
}

// release empties the owner's entry. A refresh that was under way may get
// between its two steps; then it looks again.
func release(s *MemcacheStore, r request) answer {
	a := s.rewrite(r, func(seen *memcache.Item) { seen.Value, seen.Expiration = nil, releasedExpiration })
	a.held = false
	return a
}

// rewrite changes the owner's entry. What cas meets decides: gone is lost, and
// changed is looked at again, since it may have been by a write of our own
// whose answer was lost.
func (s *MemcacheStore) rewrite(r request, change func(*memcache.Item)) answer {
	redials := 1
	for range maxRounds {
		seen, err := s.get(r, &redials)
		if errors.Is(err, memcache.ErrCacheMiss) {
			return answer{}
		}
		if err != nil {
			return answer{err: fmt.Errorf("memcached: get: %w", err)}
		}
		if string(seen.Value) != r.owner {
			return answer{}
		}
		change(seen)
		err = s.cas(r, seen)
		switch {
		case err == nil:
			return answer{held: true}
		case changed(err), s.redial(err, &redials):
		default:
			return answer{err: fmt.Errorf("memcached: cas: %w", err)}
		}
	}
	return answer{err: errChanging}
}

// get reads an entry with its cas ID.
func (s *MemcacheStore) get(r request, redials *int) (*memcache.Item, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	item, err := s.client.Get(r.key)
	if err != nil && s.redial(err, redials) {
		item, err = s.client.Get(r.key)
	}
	return item, err
}

func (s *MemcacheStore) cas(r request, item *memcache.Item) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	return s.client.CompareAndSwap(item)
}

// redial reports whether an operation is worth repeating: the server has closed
// the connection under it, as happens to all pooled ones when it restarts, and
// there is a try left. The idle connections go too, or the repetition would
// only meet the next dead one.
func (s *MemcacheStore) redial(err error, left *int) bool {
	if *left == 0 || !broken(err) {
		return false
	}
	*left--
	_ = s.client.Close() // closes the idle connections only; its error says nothing
	return true
}

// broken are the errors of a connection that the other side has closed.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// neverSent are the errors after which the server cannot have done anything.
func neverSent(err error) bool {
	if errors.Is(err, memcache.ErrNoServers) || errors.Is(err, memcache.ErrMalformedKey) {
		return true
	}
	if _, ok := errors.AsType[*memcache.ConnectTimeoutError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// changed are the answers of a cas that found another entry than was read, or
// none: memcached says ErrCacheMiss, gomemcache's documentation ErrNotStored.
func changed(err error) bool {
	return errors.Is(err, memcache.ErrCASConflict) ||
		errors.Is(err, memcache.ErrCacheMiss) || errors.Is(err, memcache.ErrNotStored)
}
