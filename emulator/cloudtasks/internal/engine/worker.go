package engine

// maxIdle bounds the workers that are kept while there is nothing to deliver.
const maxIdle = 16

// An attempt is a delivery with what its result is to be applied to.
type attempt struct {
	task     *task
	delivery *Delivery
	at       Micros // of the dispatch
	forced   bool
}

// A worker is a goroutine that makes deliveries, one after the other: a new
// goroutine for each would have to grow its stack first. It holds one attempt
// that it hasn't begun, at most.
type worker chan attempt

// hand gives an attempt to a worker. The lock is held.
func (e *Engine) hand(a attempt) {
	last := len(e.idle) - 1
	if last < 0 {
		w := make(worker, 1)
		w <- a
		e.running.Go(func() { e.work(w) })
		return
	}
	e.idle[last] <- a
	e.idle = e.idle[:last]
}

// work makes the deliveries that w is given until it is closed or not needed.
func (e *Engine) work(w worker) {
	for a := range w {
		result := e.o.Deliver(e.ctx, a.delivery)
		gaveUp, needed := e.finished(w, a, result)
		if gaveUp {
			e.o.Logger.Warn("a task is given up: its attempts or its time are used up",
				"queue", a.delivery.Queue, "task", a.delivery.ID, "attempts", a.delivery.Attempt, "reason", result.Message)
		}
		if !needed {
			return
		}
	}
}

// finished finishes an attempt and reports whether its worker is still needed:
// it is the first to be given what becomes possible by it.
func (e *Engine) finished(w worker, a attempt, r Result) (gaveUp, needed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.idle = append(e.idle, w)
	}
	gaveUp = e.finish(a, r)
	if e.closed {
		return gaveUp, false
	}
	if n := len(e.idle); n > maxIdle && e.idle[n-1] == w {
		e.idle = e.idle[:n-1]
		return gaveUp, false
	}
	return gaveUp, true
}
