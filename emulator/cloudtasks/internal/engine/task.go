package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// A NewTask asks for a task.
type NewTask struct {
	ID    string // "": the engine chooses one
	Due   Micros // a time in the past means now
	Retry *Retry // nil: the queue's; not to be changed afterwards
	Spec  []byte // the adapters' own; not to be changed afterwards
	Tag   string // of a pull task
}

// A Task describes a task.
type Task struct {
	Queue   string
	ID      string
	Spec    []byte // the adapters' own; not to be changed
	Created Micros // whole seconds
	Due     Micros // when the next attempt is due; of a leased task: when the lease ends
	Tag     string
	Tries
}

// Tries is what is kept of a task's attempts.
type Tries struct {
	Dispatches int    // attempts sent, or leases
	Responses  int    // attempts answered
	Executions int    // attempts that their Result called executed
	First      Micros // first dispatch; 0: none yet

	LastDue      Micros
	LastDispatch Micros // 0: none yet
	LastResponse Micros // 0: in flight, or lost with the process
	Last         *Result
}

// maxID bounds the ids of tasks in bytes, beyond the service's own bound.
const maxID = 1000

// A task takes 64 bytes, beside its text: a million of them may wait.
type task struct {
	queue   *queue
	text    string // the id and the packed spec
	more    *more  // nil for most waiting tasks
	due     Micros
	created int64  // Unix seconds
	seq     uint32 // of creation, for tasks due at one instant
	index   int32  // in queue.due
	age     int32  // in queue.aging
	idLen   uint16
	named   bool // by the caller
}

// more is what most waiting tasks don't have.
type more struct {
	retry   *Retry // nil: the queue's
	tries   Tries  // before the first attempt all zero
	tag     string
	running int // deliveries
}

func (t *task) id() string { return t.text[:t.idLen] }

// spec is a copy.
func (t *task) spec() []byte {
	packed := t.text[t.idLen:]
	return t.queue.samples.unpack(make([]byte, 0, unpackedLen(packed)), packed)
}

func (t *task) specLen() int { return unpackedLen(t.text[t.idLen:]) }

func (t *task) tag() string {
	if t.more == nil {
		return ""
	}
	return t.more.tag
}

func (t *task) tries() Tries {
	if t.more == nil {
		return Tries{}
	}
	return t.more.tries
}

func (t *task) running() int {
	if t.more == nil {
		return 0
	}
	return t.more.running
}

// retry is the rule that holds for t.
func (t *task) retry() Retry {
	if t.more == nil || t.more.retry == nil {
		return t.queue.Settings.Retry
	}
	return *t.more.retry
}

// extend makes room for what most tasks don't have.
func (t *task) extend() *more {
	if t.more == nil {
		t.more = new(more)
	}
	return t.more
}

func (t *task) setTries(tries Tries) { t.extend().tries = tries }

func (t *task) before(u *task) bool {
	return t.due < u.due || t.due == u.due && t.seq < u.seq
}
func (t *task) place() *int32 { return &t.index }

func (t *task) expired(now Micros) bool { return now >= t.expiry() }

func (t *task) describe() Task { return t.describeWith(t.spec()) }

func (t *task) describeWith(spec []byte) Task {
	return Task{
		Queue: t.queue.Name, ID: t.id(), Spec: spec, Created: t.createdMicros(), Due: t.due, Tag: t.tag(), Tries: t.tries(),
	}
}

func (t *task) createdMicros() Micros { return Micros(t.created) * microsPerSecond }

const microsPerSecond = Micros(time.Second / time.Microsecond)

// CreateTask adds a task.
func (e *Engine) CreateTask(queue string, n NewTask) (Task, error) {
	e.mu.Lock()
	q, err := e.queue(queue)
	if err != nil {
		e.mu.Unlock()
		return Task{}, err
	}
	t, err := e.newTask(q, n, e.now())
	if err != nil {
		e.mu.Unlock()
		return Task{}, err
	}
	synced, err := e.write(func(b []byte) []byte { return appendTask(b, t, n.Spec) })
	if err != nil {
		e.mu.Unlock()
		return Task{}, err
	}
	q.add(t)
	created := t.describeWith(n.Spec)
	e.wake(q)
	e.dispatch()
	e.mu.Unlock()
	return created, synced.Wait()
}

// newTask is the task that n asks for, which isn't in the queue yet.
func (e *Engine) newTask(q *queue, n NewTask, now Micros) (*task, error) {
	if len(n.ID) > maxID {
		return nil, fmt.Errorf("task id of %d bytes: must be at most %d", len(n.ID), maxID)
	}
	if err := q.mayCreate(n.ID, now); err != nil {
		return nil, err
	}
	id := n.ID
	for id == "" || n.ID == "" && q.tasks.get(id) != nil {
		id = strconv.FormatUint(rand.Uint64(), 10)
	}
	t := e.makeTask(q, id, n.Spec)
	t.named, t.due, t.created = n.ID != "", max(n.Due, now), int64(now/microsPerSecond)
	if n.Retry != nil || n.Tag != "" {
		t.more = &more{retry: n.Retry, tag: n.Tag}
	}
	return t, nil
}

// makeTask makes a task that is nowhere.
func (e *Engine) makeTask(q *queue, id string, spec []byte) *task {
	e.seq++
	e.text = q.samples.pack(append(e.text[:0], id...), spec)
	t := &task{queue: q, text: string(e.text), idLen: uint16(len(id)), seq: e.seq, index: nowhere, age: nowhere}
	if cap(e.text) > 1<<20 {
		e.text = nil // one big spec shall not hold on to its memory
	}
	return t
}

// add puts a new task into its queue.
func (q *queue) add(t *task) {
	q.tasks.set(t)
	q.wait(t)
	q.aging.push((*aging)(t))
}

// wait lets t wait for its time.
func (q *queue) wait(t *task) {
	q.due.push(t)
	if q.tagged != nil {
		q.tagged.Set(t)
	}
}

// unwait takes a waiting task out, to be changed.
func (q *queue) unwait(t *task) {
	q.due.remove(int(t.index))
	if q.tagged != nil {
		q.tagged.Delete(t)
	}
}

func (q *queue) mayCreate(id string, now Micros) error {
	if id == "" {
		return nil
	}
	if q.tasks.get(id) != nil {
		return ErrTaskExists
	}
	if q.tombstoned(id, now) {
		return ErrTaskTombstoned
	}
	return nil
}

// task returns a live task. A task of a missing queue is missing.
func (e *Engine) task(queue, id string) (*task, error) {
	q, err := e.queue(queue)
	if errors.Is(err, ErrQueueMissing) {
		return nil, ErrTaskMissing
	}
	if err != nil {
		return nil, err
	}
	now := e.now()
	t := q.tasks.get(id)
	switch {
	case t != nil && (!t.expired(now) || t.running() > 0):
		return t, nil
	case t != nil || q.tombstoned(id, now):
		return nil, ErrTaskTombstoned
	}
	return nil, ErrTaskMissing
}

// GetTask describes a task. ErrTaskTombstoned means that it ended recently.
func (e *Engine) GetTask(queue, id string) (Task, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, err := e.task(queue, id)
	if err != nil {
		return Task{}, err
	}
	return t.describe(), nil
}

// ListTasks returns at most limit tasks after the id after, in the order of
// their ids, and whether there are more.
func (e *Engine) ListTasks(queue, after string, limit int) (list []Task, more bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.queue(queue)
	if err != nil {
		return nil, false, err
	}
	now := e.now()
	q.tasks.from(after, func(t *task) bool {
		switch {
		case t.id() == after || t.expired(now) && t.running() == 0:
			return true
		case len(list) == limit:
			more = true
			return false
		}
		list = append(list, t.describe())
		return true
	})
	return list, more, nil
}

// DeleteTask removes a task. A delivery in flight goes on; its result changes
// nothing.
func (e *Engine) DeleteTask(queue, id string) error {
	e.mu.Lock()
	t, err := e.task(queue, id)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	wait, err := e.end(t)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	e.wake(t.queue)
	e.dispatch()
	e.mu.Unlock()
	return wait()
}

// end journals the end of t and applies it.
func (e *Engine) end(t *task) (wait func() error, err error) {
	now := e.now()
	synced, err := e.write(func(b []byte) []byte { return appendTaskEnd(b, t, now) })
	if err != nil {
		return nil, err
	}
	e.drop(t, now)
	return synced.Wait, nil
}

func (e *Engine) drop(t *task, now Micros) {
	q := t.queue
	if t.index >= 0 {
		q.unwait(t)
	}
	if t.age >= 0 {
		q.aging.remove(int(t.age))
	}
	t.index = gone
	q.tasks.delete(t)
	q.bury(t, now)
}

// RunTask delivers a task of a push queue now, whether or not it is due, running, limited or
// paused, in place of the delivery that it waited for. It doesn't wait for the
// answer. When the delivery fails, the next is due a backoff after this call.
func (e *Engine) RunTask(queue, id string) (Task, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, err := e.task(queue, id)
	if err != nil {
		return Task{}, err
	}
	if e.inFlight >= 2*e.o.MaxInFlight {
		return Task{}, ErrTooManyForced
	}
	if t.queue.Settings.Pull {
		return Task{}, ErrQueueType
	}
	if t.index >= 0 {
		t.queue.unwait(t)
	}
	if err := e.start(t, e.now(), true); err != nil {
		if t.running() == 0 {
			t.queue.wait(t)
		}
		return Task{}, err
	}
	e.wake(t.queue)
	e.dispatch()
	return t.describe(), nil
}
