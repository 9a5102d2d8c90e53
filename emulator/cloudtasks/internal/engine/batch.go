package engine

// An Outcome is what became of one task of a batch.
type Outcome struct {
	Task Task
	Err  error
}

// CreateTasks creates tasks as one change: after a kill either all that the
// answer calls created are there, with their notes, or none. A task that can't
// be created keeps no other back. What notes returns for the outcomes, in the
// order of tasks, is remembered with them; notes may be nil, and its error
// cancels everything. It runs under the engine's lock: it must be quick and must
// not call the engine.
func (e *Engine) CreateTasks(queue string, tasks []NewTask, notes func([]Outcome) ([]Note, error)) ([]Outcome, error) {
	e.mu.Lock()
	q, err := e.queue(queue)
	if err != nil {
		e.mu.Unlock()
		return nil, err
	}
	now := e.now()
	outcomes := make([]Outcome, len(tasks))
	created := make([]*task, 0, len(tasks))
	taken := make(map[string]bool, len(tasks))
	for i, n := range tasks {
		t, err := e.newTask(q, n, now)
		if err == nil && taken[t.id()] {
			err = ErrTaskExists
		}
		if err != nil {
			outcomes[i].Err = err
			continue
		}
		taken[t.id()] = true
		created = append(created, t)
		outcomes[i].Task = t.describeWith(n.Spec)
	}
	wait, err := e.group(func() ([]Note, error) { return apply(notes, outcomes) }, func(b []byte) []byte {
		for _, t := range created {
			b = appendGrouped(b, func(b []byte) []byte { return appendTask(b, t, t.spec()) })
		}
		return b
	})
	if err != nil {
		e.mu.Unlock()
		return nil, err
	}
	for _, t := range created {
		q.add(t)
	}
	e.wake(q)
	e.dispatch()
	e.mu.Unlock()
	return outcomes, wait()
}

// DeleteTasks removes tasks as one change, in the manner of CreateTasks. The
// outcomes have no tasks.
func (e *Engine) DeleteTasks(queue string, ids []string, notes func([]Outcome) ([]Note, error)) ([]Outcome, error) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	now := e.now()
	outcomes := make([]Outcome, len(ids))
	doomed := make([]*task, 0, len(ids))
	taken := make(map[string]bool, len(ids))
	for i, id := range ids {
		t, err := e.task(queue, id)
		if err == nil && taken[id] {
			err = ErrTaskTombstoned
		}
		if err != nil {
			outcomes[i].Err = err
			continue
		}
		taken[id] = true
		doomed = append(doomed, t)
	}
	wait, err := e.group(func() ([]Note, error) { return apply(notes, outcomes) }, func(b []byte) []byte {
		for _, t := range doomed {
			b = appendGrouped(b, func(b []byte) []byte { return appendTaskEnd(b, t, now) })
		}
		return b
	})
	if err != nil {
		e.mu.Unlock()
		return nil, err
	}
	for _, t := range doomed {
		e.drop(t, now)
	}
	if len(doomed) > 0 {
		e.wake(doomed[0].queue)
		e.dispatch()
	}
	e.mu.Unlock()
	return outcomes, wait()
}

func apply(notes func([]Outcome) ([]Note, error), outcomes []Outcome) ([]Note, error) {
	if notes == nil {
		return nil, nil
	}
	return notes(outcomes)
}

// group journals records and notes as one, and remembers the notes.
func (e *Engine) group(notes func() ([]Note, error), records func(b []byte) []byte) (wait func() error, err error) {
	ns, err := notes()
	if err != nil {
		return nil, err
	}
	for _, n := range ns {
		if err := n.check(); err != nil {
			return nil, err
		}
	}
	synced, err := e.write(func(b []byte) []byte {
		b = records(append(b, opGroup))
		for _, n := range ns {
			b = appendGrouped(b, func(b []byte) []byte { return appendNote(b, n) })
		}
		return b
	})
	if err != nil {
		return nil, err
	}
	for _, n := range ns {
		e.notes.put(n)
	}
	return synced.Wait, nil
}
