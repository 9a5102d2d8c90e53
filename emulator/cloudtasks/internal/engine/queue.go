package engine

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

// Settings are what the engine acts on in a queue.
type Settings struct {
	Pull          bool    // tasks are leased and never delivered; can't be changed
	Rate          float64 // dispatches per second, above 0; without effect on pull queues
	Burst         int     // size of the token bucket; likewise
	MaxConcurrent int     // likewise
	Retry         Retry   // for tasks without one of their own; of pull queues only MaxAttempts counts

	TaskTTL      time.Duration // how long a task lives; 0 is Retention
	TombstoneTTL time.Duration // how long the name of an ended one stays taken; 0 is Tombstone
}

// A Queue describes a queue.
type Queue struct {
	Name     string // projects/P/locations/L/queues/Q
	Settings Settings
	Spec     []byte // the adapters' own; not to be changed
	Paused   bool
	Purged   Micros // 0: never
}

// maxAnonymous bounds the tombstones of tasks whose names the server chose. No
// caller can create such a name, so they only improve an error text.
const maxAnonymous = 10_000

type queue struct {
	Queue
	tasks   *byID
	samples samples      // of specs
	due     heap[*task]  // those that wait
	aging   heap[*aging] // those that expire, but for some that are running
	tagged  *tagged      // those that wait in a pull queue, by tag
	bucket  bucket
	pruned  Micros // when tombstones were last dropped in an idle moment
	leases  bucket // calls that lease
	slow    throttle
	ttl     time.Duration

	running    int
	named      graveyard // ids that callers chose
	anonymous  graveyard
	dispatched uint64 // attempts since the start of the process
	executed   minute
	failure    Failure // the latest

	inTurn bool   // is in Engine.ready
	alarm  Micros // when in Engine.alarms
	index  int32
}

func (q *queue) before(r *queue) bool { return q.alarm < r.alarm }
func (q *queue) place() *int32        { return &q.index }

func (e *Engine) newQueue(desc Queue) *queue {
	q := &queue{Queue: desc, tasks: newByID(), index: nowhere}
	q.anonymous.limit = maxAnonymous
	if desc.Settings.Pull {
		q.tagged = newTagged()
		if !e.o.Unlimited {
			q.leases.limit(leaseRate, leaseRate)
		}
	}
	e.setLimits(q)
	return q
}

// setLimits puts the settings of q into effect.
func (e *Engine) setLimits(q *queue) {
	if !e.o.Unlimited {
		f := q.slow.factor()
		q.bucket.limit(q.Settings.Rate*f, int(math.Ceil(float64(q.Settings.Burst)*f)))
	}
	q.ttl = cmp.Or(q.Settings.TaskTTL, Retention)
	q.named.ttl = cmp.Or(e.o.TaskTombstone, q.Settings.TombstoneTTL, Tombstone)
	q.anonymous.ttl = q.named.ttl
}

func (s Settings) check() error {
	if !(s.Rate > 0) || s.Burst < 1 || s.MaxConcurrent < 1 {
		return fmt.Errorf("settings %+v: rate, burst and concurrency must be positive", s)
	}
	if s.TaskTTL < 0 || s.TombstoneTTL < 0 {
		return fmt.Errorf("settings %+v: times to live must not be negative", s)
	}
	return nil
}

// CreateQueue adds a queue.
func (e *Engine) CreateQueue(name string, s Settings, spec []byte) (Queue, error) {
	if err := s.check(); err != nil {
		return Queue{}, err
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return Queue{}, ErrClosed
	}
	if err := e.mayCreateQueue(name); err != nil {
		e.mu.Unlock()
		return Queue{}, err
	}
	q := e.newQueue(Queue{Name: name, Settings: s, Spec: spec})
	return e.putQueue(q, q.Queue)
}

func (e *Engine) mayCreateQueue(name string) error {
	if _, ok := e.queues.Get(name); ok {
		return ErrQueueExists
	}
	if e.buried.holds(markOf(name), e.now()) {
		return ErrQueueTombstoned
	}
	location, n := name[:strings.LastIndexByte(name, '/')+1], 0
	e.queues.Ascend(location, func(other string, _ *queue) bool {
		if !strings.HasPrefix(other, location) {
			return false
		}
		n++
		return n < MaxQueues
	})
	if n >= MaxQueues {
		return ErrTooManyQueues
	}
	return nil
}

// putQueue journals and applies a new description of q, and unlocks.
func (e *Engine) putQueue(q *queue, desc Queue) (Queue, error) {
	synced, err := e.write(func(b []byte) []byte { return appendQueue(b, &desc) })
	if err != nil {
		e.mu.Unlock()
		return Queue{}, err
	}
	q.Queue = desc
	e.setLimits(q)
	e.queues.Set(q.Name, q)
	e.wake(q)
	e.dispatch()
	e.mu.Unlock()
	return desc, synced.Wait()
}

// change describes a queue anew, as f wants it.
func (e *Engine) change(name string, f func(*Queue) error) (Queue, error) {
	e.mu.Lock()
	q, err := e.queue(name)
	if err != nil {
		e.mu.Unlock()
		return Queue{}, err
	}
	desc := q.Queue
	if err := f(&desc); err != nil {
		e.mu.Unlock()
		return Queue{}, err
	}
	return e.putQueue(q, desc)
}

// UpdateQueue lets f change the settings and the spec of a queue, but for its
// type. The spec must be replaced, not written to. When f fails nothing changes.
func (e *Engine) UpdateQueue(name string, f func(*Queue) error) (Queue, error) {
	return e.change(name, func(desc *Queue) error {
		pull := desc.Settings.Pull
		if err := f(desc); err != nil {
			return err
		}
		if desc.Settings.Pull != pull {
			return ErrQueueType
		}
		return desc.Settings.check()
	})
}

// PauseQueue stops dispatches; the queue still takes tasks.
func (e *Engine) PauseQueue(name string) (Queue, error) {
	return e.change(name, func(desc *Queue) error { desc.Paused = true; return nil })
}

// ResumeQueue starts dispatches again.
func (e *Engine) ResumeQueue(name string) (Queue, error) {
	return e.change(name, func(desc *Queue) error { desc.Paused = false; return nil })
}

// GetQueue describes a queue.
func (e *Engine) GetQueue(name string) (Queue, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.queue(name)
	if err != nil {
		return Queue{}, err
	}
	return q.Queue, nil
}

// ListQueues returns at most limit queues whose names start with prefix and come
// after the name after, in lexicographic order, and whether there are more.
func (e *Engine) ListQueues(prefix, after string, limit int) (list []Queue, more bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, false, ErrClosed
	}
	e.queues.Ascend(max(prefix, after), func(name string, q *queue) bool {
		switch {
		case !strings.HasPrefix(name, prefix):
			return false
		case name <= after:
			return true
		case len(list) == limit:
			more = true
			return false
		}
		list = append(list, q.Queue)
		return true
	})
	return list, more, nil
}

// DeleteQueue removes a queue and its tasks.
func (e *Engine) DeleteQueue(name string) error {
	e.mu.Lock()
	q, err := e.queue(name)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	now := e.now()
	synced, err := e.write(func(b []byte) []byte { return appendQueueDeletion(b, name, now) })
	if err != nil {
		e.mu.Unlock()
		return err
	}
	e.dropQueue(q, now)
	e.mu.Unlock()
	return synced.Wait()
}

func (e *Engine) dropQueue(q *queue, now Micros) {
	q.clear()
	if q.index >= 0 {
		e.alarms.remove(int(q.index))
	}
	q.index = gone
	e.queues.Delete(q.Name)
	e.buried.bury(markOf(q.Name), now)
}

// clear forgets all tasks; those in flight find that they are gone.
func (q *queue) clear() {
	q.tasks.scan(func(t *task) { t.index = gone })
	q.tasks = newByID()
	q.due, q.aging = nil, nil
	if q.tagged != nil {
		q.tagged = newTagged()
	}
}

// PurgeQueue removes all tasks of a queue; their names stay taken for the time
// of a tombstone.
func (e *Engine) PurgeQueue(name string) (Queue, error) {
	e.mu.Lock()
	q, err := e.queue(name)
	if err != nil {
		e.mu.Unlock()
		return Queue{}, err
	}
	now := e.now()
	synced, err := e.write(func(b []byte) []byte { return appendPurge(b, name, now) })
	if err != nil {
		e.mu.Unlock()
		return Queue{}, err
	}
	q.purge(now)
	desc := q.Queue
	e.mu.Unlock()
	return desc, synced.Wait()
}

func (q *queue) purge(now Micros) {
	q.tasks.scan(func(t *task) { q.bury(t, now) })
	q.clear()
	q.Purged = now
}

// bury leaves a tombstone for t.
func (q *queue) bury(t *task, now Micros) {
	if t.named {
		q.named.bury(markOf(t.id()), now)
	} else {
		q.anonymous.bury(markOf(t.id()), now)
	}
}

// tombstoned reports whether a task called id ended recently.
func (q *queue) tombstoned(id string, now Micros) bool {
	m := markOf(id)
	return q.named.holds(m, now) || q.anonymous.holds(m, now)
}

// A minute counts events of the last 60 seconds in buckets of one second.
type minute struct {
	counts [60]uint32
	last   int64 // Unix seconds of the newest bucket
}

func (m *minute) add(now Micros, n uint32) {
	sec := int64(now) / int64(time.Second/time.Microsecond)
	for range min(sec-m.last, 60) {
		m.last++
		m.counts[m.last%60] = 0
	}
	m.last = max(m.last, sec)
	m.counts[m.last%60] += n
}

func (m *minute) sum(now Micros) (n uint64) {
	m.add(now, 0)
	for _, c := range m.counts {
		n += uint64(c)
	}
	return n
}
