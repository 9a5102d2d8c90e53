package engine

import (
	"math"
	"slices"
	"time"
)

// A Delivery is one attempt to be made.
type Delivery struct {
	Queue      string
	QueueSpec  []byte
	ID         string
	Spec       []byte
	Due        Micros
	Attempt    int     // from 1
	Executions int     // earlier attempts that counted as executed
	Previous   *Result // of the last attempt; nil when there is none
	Duplicate  bool    // a second delivery of the attempt, whose result changes nothing
}

// A Result is what became of a Delivery. It is kept with the task, so its texts
// should be short.
type Result struct {
	Done      bool   // the task is finished
	Responded bool   // the target answered
	Executed  bool   // counts in Tries.Executions
	Status    int    // what the next attempt is told: an HTTP status
	Code      int32  // google.rpc.Code
	Message   string // beside the code

	// What the target asks for beside, which is not kept.
	Slow       bool          // fewer deliveries
	RetryAfter time.Duration // not this task before that
}

const (
	// maxSleep bounds the sleep of the clock: the time that a suspended machine
	// loses is noticed after it.
	maxSleep = time.Minute
	// journalPause is the wait after a record that could not be written.
	journalPause = time.Second
)

// wake puts q in line for dispatch. Every change that could let a task of q go
// ends with wake and dispatch.
func (e *Engine) wake(q *queue) {
	if !q.inTurn && q.index != gone {
		q.inTurn = true
		e.ready = append(e.ready, q)
	}
}

// dispatch starts deliveries while there is room, one of each queue in turn.
func (e *Engine) dispatch() {
	for !e.closed && len(e.ready) > 0 && e.inFlight < e.o.MaxInFlight {
		q := e.ready[0]
		e.ready = slices.Delete(e.ready, 0, 1) // keeps its memory; a location has few queues
		q.inTurn = false
		if e.dispatchOne(q) {
			e.wake(q)
		}
	}
}

// dispatchOne starts the first delivery of q, if its time has come. Otherwise q
// is woken by the alarm that this sets, or by the event that it waits for.
func (e *Engine) dispatchOne(q *queue) (again bool) {
	if q.index == gone {
		return false
	}
	wall := e.o.Clock.Now()
	now := Micros(wall.UnixMicro())
	e.leap.notice(now)
	q.prune(now)
	if next, ok := e.expire(q, now); !ok {
		e.setAlarm(q, next)
		return false
	}
	if q.Paused || q.Settings.Pull || len(q.due) == 0 || q.running >= q.Settings.MaxConcurrent {
		e.rest(q, never)
		return false
	}
	t := q.due[0]
	if t.due > now {
		e.rest(q, t.due)
		return false
	}
	if e.o.Throttle && q.slow.recover(now) {
		e.setLimits(q)
	}
	if token := q.bucket.ready(wall.UnixNano()); token > wall.UnixNano() {
		e.rest(q, min(Micros((token+999)/1000), q.slow.next()))
		return false
	}
	q.unwait(t)
	if err := e.start(t, now, false); err != nil {
		e.o.Logger.Error("a dispatch can't be recorded, and waits", "queue", q.Name, "task", t.id(), "error", err)
		q.wait(t)
		e.rest(q, now.Add(journalPause))
		return false
	}
	q.bucket.take(wall.UnixNano())
	return true
}

// start journals an attempt of t and hands it to a worker.
func (e *Engine) start(t *task, now Micros, forced bool) error {
	q := t.queue
	before := t.tries()
	tries := before
	tries.Dispatches++
	if tries.First == 0 {
		tries.First = now
	}
	tries.LastDue, tries.LastDispatch, tries.LastResponse = t.due, now, 0
	if _, err := e.write(func(b []byte) []byte { return appendTries(b, t, t.due, &tries) }); err != nil {
		return err
	}
	t.setTries(tries)
	t.more.running++
	q.running++
	q.dispatched++
	e.inFlight++
	d := &Delivery{
		Queue: q.Name, QueueSpec: q.Spec, ID: t.id(), Spec: t.spec(), Due: t.due,
		Attempt: tries.Dispatches, Executions: before.Executions, Previous: before.Last,
	}
	e.duplicate(d)
	e.hand(attempt{t, d, now, forced})
	return nil
}

// finish records the result of an attempt, and reports whether it was the last
// that the task gets without success. The lock is held.
func (e *Engine) finish(a attempt, r Result) (gaveUp bool) {
	t, from := a.task, a.at
	q, now := t.queue, e.now()
	e.inFlight--
	q.running--
	t.more.running--
	if e.closed {
		return false // cut short by Close: delivered again at the next start
	}
	if r.Responded {
		q.executed.add(now, 1)
	}
	if e.o.Throttle && q.slow.observe(r, now) {
		e.setLimits(q)
	}
	if !r.Done {
		q.failure = Failure{At: now, Task: t.id(), Reason: r.Message}
	}
	if t.index != gone {
		if !a.forced {
			from = now
		}
		gaveUp = e.settle(t, r, now, from)
	}
	e.wake(q)
	e.dispatch()
	return gaveUp
}

// settle applies a result to a task that is still there, and reports whether the
// task is given up.
func (e *Engine) settle(t *task, r Result, now, from Micros) (gaveUp bool) {
	tries := t.tries()
	if r.Responded {
		tries.Responses++
	}
	if r.Executed {
		tries.Executions++
	}
	backoff := time.Duration(0)
	if e.o.Throttle {
		backoff = min(r.RetryAfter, maxRetryAfter)
	}
	r.Slow, r.RetryAfter = false, 0
	tries.LastResponse, tries.Last = now, &r

	retry := t.retry()
	var err error
	if r.Done || retry.Exhausted(tries.Dispatches, now.Sub(tries.First)) || t.expired(now) {
		if _, err = e.end(t); err == nil && !r.Done {
			return true
		}
	} else {
		due := from.Add(max(retry.Backoff(tries.Dispatches), backoff))
		if _, err = e.write(func(b []byte) []byte { return appendTries(b, t, due, &tries) }); err == nil {
			t.due = due
			t.setTries(tries)
		}
	}
	if err != nil {
		e.o.Logger.Error("the result of a delivery can't be recorded; it is delivered again",
			"queue", t.queue.Name, "task", t.id(), "error", err)
		t.due = now.Add(journalPause)
	}
	// Where RunTask made deliveries overlap, the last to end lets the next wait.
	if t.index == nowhere && t.running() == 0 {
		t.queue.wait(t)
		if t.age == nowhere { // its time was up while it ran, and its end can't be recorded
			t.queue.aging.push((*aging)(t))
		}
	}
	return false
}

// never is no time at all.
const never Micros = math.MaxInt64

// rest wakes q at the time at, or when its oldest task expires, or when
// tombstones have.
func (e *Engine) rest(q *queue, at Micros) { e.setAlarm(q, min(at, q.nextExpiry(), q.nextPrune())) }

// setAlarm wakes q at the time at.
func (e *Engine) setAlarm(q *queue, at Micros) {
	switch {
	case q.index >= 0 && q.alarm == at:
		return
	case q.index >= 0 && at == never:
		e.alarms.remove(int(q.index))
	case at == never:
	case q.index >= 0:
		q.alarm = at
		e.alarms.fix(int(q.index))
	default:
		q.alarm = at
		e.alarms.push(q)
	}
	// Where another alarm became the first, the clock is early, which is harmless.
	if at != never && e.alarms[0] == q {
		e.setClock()
	}
}

func (e *Engine) setClock() {
	at := e.now().Add(maxSleep)
	if len(e.alarms) > 0 {
		at = min(at, e.alarms[0].alarm)
	}
	e.timer.ResetAt(time.UnixMicro(int64(at)))
}

// ring wakes the queues whose alarms are due, until Close.
func (e *Engine) ring() {
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.timer.C:
		}
		e.mu.Lock()
		now := e.now()
		e.leap.notice(now)
		for len(e.alarms) > 0 && e.alarms[0].alarm <= now {
			e.wake(e.alarms.remove(0))
		}
		e.dispatch()
		e.setClock()
		e.mu.Unlock()
	}
}

// duplicate may start a second delivery of d, at once or a little later. Its
// result changes nothing.
func (e *Engine) duplicate(d *Delivery) {
	if e.o.Duplicate == nil || e.duplicates >= e.o.MaxInFlight {
		return
	}
	later, chosen := e.o.Duplicate(d)
	if !chosen {
		return
	}
	e.duplicates++
	again := *d
	again.Duplicate = true
	e.running.Go(func() {
		timer := time.NewTimer(later) // the machine's: a frozen clock doesn't hold what is under way
		select {
		case <-e.ctx.Done():
		case <-timer.C:
			e.o.Deliver(e.ctx, &again)
		}
		timer.Stop()
		e.mu.Lock()
		e.duplicates--
		e.mu.Unlock()
	})
}
