package engine

// expireAtOnce bounds the tasks that expire under one lock.
const expireAtOnce = 256

// aging is a task in the order of its expiry.
type aging task

func (a *aging) before(b *aging) bool { return a.created < b.created }
func (a *aging) place() *int32        { return &a.age }

// expiry is the time at which a task ends, delivered or not.
func (t *task) expiry() Micros { return t.createdMicros().Add(t.queue.ttl) }

// nextExpiry is the time at which the next task of q expires, or never.
func (q *queue) nextExpiry() Micros {
	if len(q.aging) == 0 {
		return never
	}
	return (*task)(q.aging[0]).expiry()
}

// A leap is the latest one of the clock: somebody moved it, or the machine slept.
type leap struct {
	seen, from, to Micros
}

// notice keeps what the clock shows.
func (l *leap) notice(now Micros) {
	if now.Sub(l.seen) > 2*maxSleep {
		l.from, l.to = l.seen, now
	}
	l.seen = now
}

// spares reports whether t fell due, and could have been delivered, in the leap
// that took it beyond its expiry.
func (l *leap) spares(t *task) bool {
	return t.due > l.from && t.due <= l.to && t.due < t.expiry() && !t.queue.Paused && !t.queue.Settings.Pull
}

// expire ends the tasks of q whose time is up, whether or not they could be
// delivered, but for those that are running, and those that the clock has leapt
// over: their deliveries end them. It reports whether it is through; otherwise it goes on at the time next.
func (e *Engine) expire(q *queue, now Micros) (next Micros, ok bool) {
	for range expireAtOnce {
		if q.nextExpiry() > now {
			return 0, true
		}
		t := (*task)(q.aging[0])
		if t.running() > 0 || e.leap.spares(t) {
			q.aging.remove(0)
			continue
		}
		if _, err := e.end(t); err != nil {
			e.o.Logger.Error("an expired task can't be removed", "queue", q.Name, "task", t.id(), "error", err)
			return now.Add(journalPause), false
		}
	}
	return now, false
}
