package engine

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/tidwall/btree"
)

// Bounds of leases, the service's own.
const (
	MaxLeases     = 1000               // tasks of one call
	MaxLease      = 7 * 24 * time.Hour // how long
	MaxLeaseBytes = 32 << 20           // of the tasks of one call

	leaseRate = 10 // calls a second and queue
)

// tagged are the waiting tasks of a pull queue, by tag and then by time.
type tagged = btree.BTreeG[*task]

func newTagged() *tagged {
	return btree.NewBTreeGOptions(func(t, u *task) bool {
		if t.tag() != u.tag() {
			return t.tag() < u.tag()
		}
		return t.before(u)
	}, btree.Options{NoLocks: true})
}

// A Lease says which tasks of a pull queue are wanted and for how long.
type Lease struct {
	Max      int           // 1 to MaxLeases
	Duration time.Duration // whole seconds, up to MaxLease; the rest is cut off
	MaxBytes int           // of all; 0 is MaxLeaseBytes. One task is leased in any case

	HasTag    bool   // only tasks with this Tag
	Tag       string // may be ""
	OldestTag bool   // only tasks with the tag of the one that has been due longest
}

// LeaseTasks gives tasks that are due to the caller, the longest due first: no
// other call gets them before the lease ends, which is their Due from now on. A
// task that has been leased as often as its retry rule allows is removed
// instead.
func (e *Engine) LeaseTasks(queue string, l Lease) ([]Task, error) {
	until, err := l.check()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	q, err := e.queue(queue)
	if err == nil {
		err = q.mayLease(e.o.Clock.Now())
	}
	if err != nil {
		e.mu.Unlock()
		return nil, err
	}
	now := e.now()
	leased, used := q.choose(l, now)
	if len(leased)+len(used) == 0 {
		e.mu.Unlock()
		return nil, nil
	}
	due := now.Add(until)
	synced, err := e.write(func(b []byte) []byte {
		b = append(b, opGroup)
		for _, t := range used {
			b = appendGrouped(b, func(b []byte) []byte { return appendTaskEnd(b, t, now) })
		}
		for _, t := range leased {
			tries := t.leasedOnce()
			b = appendGrouped(b, func(b []byte) []byte { return appendTries(b, t, due, &tries) })
		}
		return b
	})
	if err != nil {
		e.mu.Unlock()
		return nil, err
	}
	for _, t := range used {
		e.drop(t, now)
	}
	tasks := make([]Task, len(leased))
	for i, t := range leased {
		tries := t.leasedOnce()
		q.reschedule(t, due)
		t.setTries(tries)
		tasks[i] = t.describe()
	}
	e.mu.Unlock()
	return tasks, synced.Wait()
}

func (l *Lease) check() (time.Duration, error) {
	until, err := leaseFor(l.Duration)
	if err != nil {
		return 0, err
	}
	if l.Max < 1 || l.Max > MaxLeases {
		return 0, fmt.Errorf("lease of %d tasks: must be 1 to %d", l.Max, MaxLeases)
	}
	if l.MaxBytes < 0 || l.MaxBytes > MaxLeaseBytes {
		return 0, fmt.Errorf("lease of %d bytes: must be at most %d", l.MaxBytes, MaxLeaseBytes)
	}
	l.MaxBytes = cmp.Or(l.MaxBytes, MaxLeaseBytes)
	return until, nil
}

// leaseFor is the length of a lease in whole seconds.
func leaseFor(d time.Duration) (time.Duration, error) {
	if d = d.Truncate(time.Second); d < 0 || d > MaxLease {
		return 0, fmt.Errorf("lease of %v: must be within [0s, %v]", d, MaxLease)
	}
	return d, nil
}

// mayLease takes a token for a call that leases.
func (q *queue) mayLease(now time.Time) error {
	switch {
	case !q.Settings.Pull:
		return ErrQueueType
	case q.Paused:
		return ErrPaused
	case q.leases.ready(now.UnixNano()) > now.UnixNano():
		return ErrTooManyLeases
	}
	q.leases.take(now.UnixNano())
	return nil
}

// leasedOnce is what a lease makes of the attempts of t.
func (t *task) leasedOnce() Tries {
	tries := t.tries()
	tries.Dispatches++
	return tries
}

// usedUp reports whether t has been leased as often as it may.
func (t *task) usedUp() bool {
	most := t.retry().MaxAttempts
	return most > 0 && t.tries().Dispatches >= most
}

// reschedule lets a waiting task wait for another time.
func (q *queue) reschedule(t *task, due Micros) {
	q.unwait(t)
	t.due = due
	q.wait(t)
}

// choose returns the tasks that l leases, and those that it met on the way whose
// leases are used up.
func (q *queue) choose(l Lease, now Micros) (leased, used []*task) {
	size := 0
	take := func(t *task) (again bool) {
		if t.due > now || len(leased) == l.Max || len(used) == chunk {
			return false
		}
		if t.expired(now) { // its end is on its way
			return true
		}
		if t.usedUp() {
			used = append(used, t)
			return true
		}
		size += t.specLen() + len(t.queue.Name) + len(t.id()) + len(t.tag()) + taskOverhead
		if size > l.MaxBytes && len(leased) > 0 {
			return false
		}
		leased = append(leased, t)
		return true
	}
	if len(q.due) == 0 {
		return nil, nil
	}
	if l.OldestTag && !l.HasTag {
		l.Tag = q.due[0].tag()
	}
	if l.HasTag || l.OldestTag {
		first := &task{more: &more{tag: l.Tag}, due: math.MinInt64}
		q.tagged.Ascend(first, func(t *task) bool { return t.tag() == l.Tag && take(t) })
		return leased, used
	}
	// The heap is in order only as it is taken from.
	var out []*task
	for len(q.due) > 0 {
		t := q.due[0]
		if !take(t) {
			break
		}
		q.due.remove(0)
		out = append(out, t)
	}
	for _, t := range out {
		q.due.push(t)
	}
	return leased, used
}

// taskOverhead is more than the fields of a task take that are not of its spec.
const taskOverhead = 128

// leased returns a task whose lease, which ends at the time held, still lasts.
func (e *Engine) leased(queue, id string, held, now Micros) (*task, error) {
	t, err := e.task(queue, id)
	switch {
	case err != nil:
		return nil, err
	case !t.queue.Settings.Pull:
		return nil, ErrQueueType
	case t.due != held || t.due <= now:
		return nil, ErrLeaseLost
	}
	return t, nil
}

// AcknowledgeTask removes a task whose lease, which ends at the time held, still
// lasts. Otherwise the error is ErrLeaseLost.
func (e *Engine) AcknowledgeTask(queue, id string, held Micros) error {
	e.mu.Lock()
	t, err := e.leased(queue, id, held, e.now())
	if err != nil {
		e.mu.Unlock()
		return err
	}
	wait, err := e.end(t)
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return wait()
}

// RenewLease lets a lease that ends at the time held and still lasts end d from
// now.
func (e *Engine) RenewLease(queue, id string, held Micros, d time.Duration) (Task, error) {
	until, err := leaseFor(d)
	if err != nil {
		return Task{}, err
	}
	return e.changeLease(queue, id, held, until)
}

// CancelLease ends a lease that ends at the time held and still lasts: the task
// can be leased at once.
func (e *Engine) CancelLease(queue, id string, held Micros) (Task, error) {
	return e.changeLease(queue, id, held, 0)
}

func (e *Engine) changeLease(queue, id string, held Micros, until time.Duration) (Task, error) {
	e.mu.Lock()
	now := e.now()
	t, err := e.leased(queue, id, held, now)
	if err != nil {
		e.mu.Unlock()
		return Task{}, err
	}
	tries := t.tries()
	due := now.Add(until)
	synced, err := e.write(func(b []byte) []byte { return appendTries(b, t, due, &tries) })
	if err != nil {
		e.mu.Unlock()
		return Task{}, err
	}
	t.queue.reschedule(t, due)
	task := t.describe()
	e.mu.Unlock()
	return task, synced.Wait()
}
