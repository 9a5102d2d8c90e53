package engine

// Stats is a look at the whole engine.
type Stats struct {
	Queues   []QueueStats // in the order of names
	InFlight int          // deliveries, duplicates included
}

// QueueStats is a look at one queue.
type QueueStats struct {
	Name       string
	Paused     bool
	Pull       bool
	Waiting    int     // tasks that no delivery is in flight for
	Running    int     // deliveries in flight
	Tasks      int     // both
	Oldest     Micros  // the earliest time a waiting task is or was due; 0: none
	Executed   uint64  // deliveries answered in the last minute
	Dispatched uint64  // attempts since the start of the process
	Rate       float64 // dispatches a second that are possible now; 0: not limited
	Failure    Failure
}

// A Failure is the latest attempt of a queue that failed since the start of the
// process.
type Failure struct {
	At     Micros // 0: there is none
	Task   string // id
	Reason string // the message of its Result
}

// Stats looks at all queues.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	s := Stats{InFlight: e.inFlight + e.duplicates}
	e.queues.Scan(func(_ string, q *queue) bool {
		s.Queues = append(s.Queues, e.look(q, now))
		return true
	})
	return s
}

// QueueStats looks at one queue.
func (e *Engine) QueueStats(name string) (QueueStats, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.queue(name)
	if err != nil {
		return QueueStats{}, err
	}
	return e.look(q, e.now()), nil
}

func (e *Engine) look(q *queue, now Micros) QueueStats {
	s := QueueStats{
		Name: q.Name, Paused: q.Paused, Pull: q.Settings.Pull,
		Waiting: len(q.due), Running: q.running, Tasks: q.tasks.len(),
		Executed: q.executed.sum(now), Dispatched: q.dispatched, Failure: q.failure,
	}
	if !e.o.Unlimited {
		s.Rate = q.Settings.Rate * q.slow.factor()
	}
	if len(q.due) > 0 {
		s.Oldest = q.due[0].due
	}
	return s
}
