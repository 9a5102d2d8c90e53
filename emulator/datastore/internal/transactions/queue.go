package transactions

import (
	"cmp"
	"context"
	"slices"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// request is a read or a commit that may have to wait for its turn.
type request struct {
	ctx       context.Context
	tx        *Tx
	mutations []storage.Mutation // of a commit

	touch func() error // brings fp, and what mutations compute, up to date with the live state
	grant func() error
	fp    Footprint

	queued bool
	done   chan struct{} // made when the request has to wait; closed when it is over
	err    error
	over   bool
	on     blocker    // what it waits for
	behind []*request // younger requests that wait for this one's turn
}

// blocker is what a request waits for: the transaction that holds a lock, or
// an older request that waits itself.
type blocker struct {
	tx  *Tx
	req *request
	key string // the entity in question, if it is one
}

func (b blocker) none() bool { return b.tx == nil && b.req == nil }

// queue holds the waiting requests, by what they want.
type queue struct {
	keys   map[string][]*request
	ranges []*request // those with intervals, or commits, which write rows in intervals
	size   int
	ready  []*request // to be tried again by settle
}

func newQueue() queue { return queue{keys: map[string][]*request{}} }

func (q *queue) len() int { return q.size }

func (q *queue) add(r *request) {
	if r.queued {
		return
	}
	r.queued = true
	q.size++
	for _, k := range r.fp.Keys {
		q.keys[k] = append(q.keys[k], r)
	}
	q.ranges = append(q.ranges, r)
}

func (q *queue) remove(r *request) {
	if !r.queued {
		return
	}
	r.queued = false
	q.size--
	for _, k := range r.fp.Keys {
		rest := slices.DeleteFunc(q.keys[k], func(o *request) bool { return o == r })
		if len(rest) == 0 {
			delete(q.keys, k)
		} else {
			q.keys[k] = rest
		}
	}
	q.ranges = slices.DeleteFunc(q.ranges, func(o *request) bool { return o == r })
}

func (q *queue) wake(rs []*request) { q.ready = append(q.ready, rs...) }

// run carries r out when its turn has come, unless its context ends before.
func (m *Manager) run(r *request) error {
	m.mu.Lock()
	if r.tx == nil {
		r.tx = m.newTx()
	}
	if err := r.tx.usable(); err != nil {
		m.mu.Unlock()
		return err
	}
	r.tx.running++
	m.try(r)
	m.settle()
	if r.over {
		m.leave(r.tx)
		m.mu.Unlock()
		return r.err
	}
	m.mu.Unlock()

	select {
	case <-r.done:
		m.mu.Lock()
	case <-r.ctx.Done():
		m.mu.Lock()
		if !r.over {
			m.withdraw(r, r.ctx.Err())
			m.settle()
		}
	}
	defer m.mu.Unlock()
	m.leave(r.tx)
	return r.err
}

// try carries out a request that nothing stands in the way of, and puts any
// other in line, or back into it.
func (m *Manager) try(r *request) {
	if err := r.ctx.Err(); err != nil {
		m.finish(r, err)
		return
	}
	if r.on = (blocker{}); r.queued {
		r.on = m.blockerOf(r) // if what it last touched is in the way, it needn't look again
	}
	if r.on.none() {
		if len(r.fp.Ranges) > 0 {
			m.queue.remove(r) // a query's footprint moves with the live state
		}
		if err := r.touch(); err != nil {
			m.finish(r, err)
			return
		}
		r.on = m.blockerOf(r)
	}
	if r.on.none() {
		m.unlist(r) // its grant may end its transaction, and with it what waits there
		m.finish(r, r.grant())
		return
	}
	if r.done == nil {
		r.done = make(chan struct{})
		r.tx.waiting = append(r.tx.waiting, r)
	}
	m.queue.add(r)
	if r.on.tx != nil {
		r.on.tx.behind = append(r.on.tx.behind, r)
	} else {
		r.on.req.behind = append(r.on.req.behind, r)
	}
	for !r.over {
		victim := m.deadlock(r)
		if victim == nil {
			return
		}
		m.stats.Aborts++
		m.end(victim, aborted)
	}
}

// finish ends a request and wakes those that waited for its turn.
func (m *Manager) finish(r *request, err error) {
	r.err, r.over = err, true
	m.queue.remove(r)
	m.unlist(r)
	m.queue.wake(r.behind)
	r.behind = nil
	if r.done != nil {
		close(r.done)
	}
}

// unlist takes r from its transaction's waiting requests.
func (m *Manager) unlist(r *request) {
	r.tx.waiting = slices.DeleteFunc(r.tx.waiting, func(o *request) bool { return o == r })
}

// withdraw takes a waiting request out of the line.
func (m *Manager) withdraw(r *request, err error) {
	is := func(o *request) bool { return o == r }
	if r.on.tx != nil {
		r.on.tx.behind = slices.DeleteFunc(r.on.tx.behind, is)
	} else {
		r.on.req.behind = slices.DeleteFunc(r.on.req.behind, is)
	}
	m.finish(r, err)
}

// settle tries the requests again whose blockers are gone, oldest first.
func (m *Manager) settle() {
	for len(m.queue.ready) > 0 {
		ready := m.queue.ready
		m.queue.ready = nil
		slices.SortFunc(ready, func(a, b *request) int { return cmp.Compare(a.tx.age, b.tx.age) })
		for _, r := range ready {
			if !r.over {
				m.try(r)
			}
		}
	}
}

// blockerOf returns what r has to wait for, if anything: the holder of a lock,
// or else an older request in line that wants the same.
func (m *Manager) blockerOf(r *request) (b blocker) {
	m.locks.holders(r.tx, &r.fp, func(h *Tx, key string) bool {
		b = blocker{tx: h, key: key}
		return false
	})
	if b.none() {
		if h := m.locks.rowHolder(r.tx, m.db, r.mutations); h != nil {
			b = blocker{tx: h}
		}
	}
	if !b.none() || m.queue.size == 0 {
		return b
	}
	for _, k := range r.fp.Keys {
		for _, o := range m.queue.keys[k] {
			if m.goesBefore(o, r) {
				return blocker{req: o, key: k}
			}
		}
	}
	for _, o := range m.queue.ranges {
		if (len(o.fp.Ranges) > 0 || len(r.fp.Ranges) > 0) && m.goesBefore(o, r) && m.meets(o, r) {
			return blocker{req: o}
		}
	}
	return blocker{}
}

// goesBefore reports whether o, which waits, has precedence over r. Who waits
// for a lock of r's own transaction hasn't: r would wait for itself.
func (m *Manager) goesBefore(o, r *request) bool {
	return o.tx.age < r.tx.age && o.tx != r.tx && !m.waitsFor(o, r.tx)
}

// waitsFor reports whether a lock of tx stands in the way of o.
func (m *Manager) waitsFor(o *request, tx *Tx) bool {
	if o.on.tx == tx {
		return true
	}
	if tx.holdsNothing() {
		return false
	}
	waits := false
	m.locks.holders(o.tx, &o.fp, func(h *Tx, _ string) bool {
		waits = h == tx
		return !waits
	})
	return waits
}

// meets reports whether an interval of one request meets what the other
// touches, the rows that a commit writes included.
func (m *Manager) meets(a, b *request) bool {
	if a.fp.overlaps(&b.fp) {
		return true
	}
	return m.writesInto(a, b.fp.Ranges) || m.writesInto(b, a.fp.Ranges)
}

func (m *Manager) writesInto(r *request, ranges []Range) (meets bool) {
	if len(r.mutations) == 0 || len(ranges) == 0 {
		return false
	}
	m.db.Read(func(v storage.View) {
		for i := range r.mutations {
			for _, e := range []*storage.Entity{v.Get(r.mutations[i].Key), r.mutations[i].Entity} {
				if e == nil {
					continue
				}
				for row := range v.RowsOf(e) {
					for _, s := range ranges {
						if s.contains(row) {
							meets = true
							return
						}
					}
				}
			}
		}
	})
	return meets
}

// deadlock returns the youngest transaction of a circle of transactions that
// wait for each other, start among them; nil when there is none.
func (m *Manager) deadlock(start *request) *Tx {
	if start.tx.holdsNothing() && len(start.behind) == 0 {
		return nil // nobody waits for it
	}
	seen := map[*request]bool{}
	var victim *Tx
	var walk func(r *request) bool // whether a circle leads from r to start
	walk = func(r *request) bool {
		if seen[r] {
			return false
		}
		seen[r] = true
		found := false
		follow := func(h *Tx, _ string) bool {
			if h == start.tx {
				found = true
				return false
			}
			if slices.ContainsFunc(h.waiting, walk) {
				found = true
				return false
			}
			return true
		}
		m.locks.holders(r.tx, &r.fp, follow)
		if !found {
			if h := m.locks.rowHolder(r.tx, m.db, r.mutations); h != nil {
				follow(h, "")
			}
		}
		if !found && r.on.req != nil {
			found = r.on.req == start || walk(r.on.req)
		}
		if found && !r.tx.holdsNothing() && (victim == nil || r.tx.age > victim.age) {
			victim = r.tx
		}
		return found
	}
	if !walk(start) {
		return nil
	}
	return victim
}
