package engine

import (
	"errors"
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

type task struct {
	queue   *queue
	id      string
	spec    []byte
	retry   *Retry
	tries   *Tries // nil before the first attempt: most waiting tasks
	tag     string
	created Micros
	due     Micros
	seq     uint64 // of creation, for tasks due at one instant
	index   int32  // in queue.due
	age     int32  // in queue.aging
	running int32
	named   bool // by the caller
}

func (t *task) before(u *task) bool {
	return t.due < u.due || t.due == u.due && t.seq < u.seq
}
func (t *task) place() *int32 { return &t.index }

func (t *task) expired(now Micros) bool { return now >= t.expiry() }

func (t *task) describe() Task {
	d := Task{Queue: t.queue.Name, ID: t.id, Spec: t.spec, Created: t.created, Due: t.due, Tag: t.tag}
	if t.tries != nil {
		d.Tries = *t.tries
	}
	return d
}

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
	synced, err := e.write(func(b []byte) []byte { return appendTask(b, t) })
	if err != nil {
		e.mu.Unlock()
		return Task{}, err
	}
	q.add(t)
	created := t.describe()
	e.wake(q)
	e.dispatch()
	e.mu.Unlock()
	return created, synced.Wait()
}

// newTask is the task that n asks for, which isn't in the queue yet.
func (e *Engine) newTask(q *queue, n NewTask, now Micros) (*task, error) {
	if err := q.mayCreate(n.ID, now); err != nil {
		return nil, err
	}
	e.seq++
	t := &task{
		queue: q, id: n.ID, named: n.ID != "", spec: n.Spec, retry: n.Retry, tag: n.Tag, seq: e.seq,
		index: nowhere, age: nowhere,
		due:     max(n.Due, now),
		created: now - now%Micros(time.Second/time.Microsecond),
	}
	for t.id == "" || !t.named && q.mayCreate(t.id, now) != nil {
		t.id = strconv.FormatUint(rand.Uint64(), 10)
	}
	return t, nil
}

// add puts a new task into its queue.
func (q *queue) add(t *task) {
	q.tasks.Set(t.id, t)
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
	if _, ok := q.tasks.Get(id); ok {
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
	t, ok := q.tasks.Get(id)
	switch {
	case ok && (!t.expired(now) || t.running > 0):
		return t, nil
	case ok || q.tombstoned(id, now):
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
	q.tasks.Ascend(after, func(id string, t *task) bool {
		switch {
		case id == after || t.expired(now) && t.running == 0:
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
	q.tasks.Delete(t.id)
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
		if t.running == 0 {
			t.queue.wait(t)
		}
		return Task{}, err
	}
	e.wake(t.queue)
	e.dispatch()
	return t.describe(), nil
}
