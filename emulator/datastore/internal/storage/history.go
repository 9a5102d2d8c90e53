package storage

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The past that a database can still show is bounded by age, as Datastore's is
// without point-in-time recovery, and by what it takes to keep.
const (
	historyAge   = time.Hour
	historyBytes = 64 << 20

	pastViews    = 4           // put together and kept for the next request at the same time
	pastViewsAge = time.Minute // since their last use
)

// history is what the commits of the last hour replaced, oldest first. A past
// state is the present one with the newer changes taken back: reading costs
// what has changed since, and keeping costs a commit nothing but the entities
// that it replaced. It is guarded by its database's lock.
type history struct {
	changes []change
	bytes   int
	horizon int64 // version of the newest commit whose changes are not kept: the oldest state to be had
	views   []*pastView
}

// change is what a commit made of an entity. before is nil when there was none,
// after when it was deleted, and both are when there was nothing to delete.
type change struct {
	version       int64 // of the commit
	before, after *Entity
}

func (c *change) size() int {
	n := 64
	if c.before != nil {
		n += len(c.before.wire) + c.before.rows.Size()
	}
	return n
}

type pastView struct {
	version int64
	used    time.Time
	view    func() View
}

// add notes a change and forgets what is out of bounds.
func (h *history) add(c change) {
	h.changes = append(h.changes, c)
	h.bytes += c.size()
	for h.bytes > historyBytes || h.changes[0].version < c.version-historyAge.Microseconds() {
		h.horizon = max(h.horizon, h.changes[0].version)
		h.bytes -= h.changes[0].size()
		h.changes[0] = change{}
		if h.changes = h.changes[1:]; len(h.changes) == 0 {
			h.changes = nil
			break
		}
	}
	h.expireViews()
}

// forget drops the past: the state of this version is the oldest one from now on.
func (h *history) forget(version int64) { *h = history{horizon: version} }

func (h *history) expireViews() {
	h.views = slices.DeleteFunc(h.views, func(v *pastView) bool { return time.Since(v.used) > pastViewsAge })
}

// TooOldError says that the state of a time can't be put together any more.
type TooOldError struct{ Oldest int64 } // µs: the oldest time that can be read

func (e *TooOldError) Error() string {
	return fmt.Sprintf("The requested 'read_time' is too old. The past is kept for %v and in up to %d MiB; it goes back to %s now.",
		historyAge, historyBytes>>20, time.UnixMicro(e.Oldest).UTC().Format("2006-01-02T15:04:05.000000Z"))
}

// At returns the state at a time (µs), which must not be in the future, or a
// *TooOldError. It takes time in proportion to the changes since.
func (db *DB) At(t int64) (View, error) {
	db.mu.Lock()
	h := &db.history
	h.expireViews()
	if oldest := max(h.horizon, db.store.now()-historyAge.Microseconds()); t < oldest {
		db.mu.Unlock()
		return View{}, &TooOldError{Oldest: oldest}
	}
	past := h.at(t, db)
	db.mu.Unlock()
	v := past.view()
	v.Time = t
	return v, nil
}

// at returns the view of a time, which may have to be put together yet: that is
// done outside the lock, once, when somebody asks for it.
func (h *history) at(t int64, db *DB) *pastView {
	db.spokeFor(t)
	i, _ := slices.BinarySearchFunc(h.changes, t, func(c change, t int64) int {
		if c.version <= t {
			return -1
		}
		return 1
	})
	version := h.horizon
	switch {
	case i == len(h.changes):
		version = db.version
	case i > 0:
		version = h.changes[i-1].version
	}
	for _, v := range h.views {
		if v.version == version {
			v.used = time.Now()
			return v
		}
	}
	present, since := db.tables.snapshot(), slices.Clone(h.changes[i:])
	past := &pastView{version: version, used: time.Now(), view: sync.OnceValue(func() View {
		for _, c := range slices.Backward(since) {
			if e := cmp.Or(c.before, c.after); e != nil {
				present.put(e.Key(), c.before)
			}
		}
		return View{tables: present, Version: version}
	})}
	if h.views = append(h.views, past); len(h.views) > pastViews {
		h.views = slices.Delete(h.views, 0, 1)
	}
	return past
}
