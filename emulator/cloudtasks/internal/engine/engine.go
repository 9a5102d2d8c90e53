package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// Micros is a time in microseconds since the Unix epoch, the resolution of the
// Cloud Tasks API.
type Micros int64

// Sub returns the time from u to m.
func (m Micros) Sub(u Micros) time.Duration { return time.Duration(m-u) * time.Microsecond }

// Add returns the time d after m, rounded down.
func (m Micros) Add(d time.Duration) Micros { return m + Micros(d/time.Microsecond) }

// Bounds and defaults that are the service's own.
const (
	Retention = 31 * 24 * time.Hour // how long a task lives in a queue that doesn't say
	Tombstone = time.Hour           // the same for the name of an ended task
	MaxQueues = 1000                // per location
)

// Options tunes an Engine; the zero values mean what is stated.
type Options struct {
	// Deliver makes one delivery and reports its result. It must end soon after
	// ctx does. Required.
	Deliver func(ctx context.Context, d *Delivery) Result

	Dir   string        // data folder; "" keeps everything in memory
	Fsync journal.Fsync // of the folder's journal

	Clock *clock.Clock // nil is the machine's; deadlines of deliveries are the machine's anyway

	MaxInFlight    int           // deliveries at a time over all queues; 1000
	Unlimited      bool          // ignore the rates of queues and of leases (their concurrency still counts)
	TaskTombstone  time.Duration // how long the name of an ended task stays taken; 0: as its queue says, negative: not at all
	QueueTombstone time.Duration // the same for queues; 72 h, negative: not at all
	Throttle       bool          // slow queues down whose targets ask for it; see throttle

	// Duplicate says whether an attempt is delivered twice, and how much later the
	// second delivery starts; nil is never.
	Duplicate func(d *Delivery) (later time.Duration, chosen bool)

	Logger *slog.Logger // nil discards
}

// The errors that callers tell apart; the texts for clients are the adapters'.
var (
	ErrQueueMissing    = errors.New("no such queue")
	ErrQueueExists     = errors.New("queue exists")
	ErrQueueTombstoned = errors.New("queue existed too recently")
	ErrTooManyQueues   = fmt.Errorf("more than %d queues in a location", MaxQueues)
	ErrTaskMissing     = errors.New("no such task")
	ErrTaskExists      = errors.New("task exists")
	ErrTaskTombstoned  = errors.New("task existed recently")
	ErrTooManyForced   = errors.New("too many forced deliveries in flight")
	ErrQueueType       = errors.New("not possible with a queue of this type")
	ErrPaused          = errors.New("queue is paused")
	ErrLeaseLost       = errors.New("the lease is held no longer")
	ErrTooManyLeases   = fmt.Errorf("more than %d calls a second that lease", leaseRate)
	ErrTooMuchKept     = fmt.Errorf("more than %d bytes of facts", maxFactBytes)
	ErrClosed          = errors.New("closed")
)

// An Engine holds queues and delivers their tasks. All methods may be called
// concurrently; after Close they return ErrClosed.
type Engine struct {
	o   Options
	log *journal.Journal

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // the clock, deliveries and checkpoints

	mu         sync.Mutex // orders everything below and the journal
	closed     bool
	queues     btree.Map[string, *queue]
	buried     graveyard // names of deleted queues
	ready      []*queue  // queues that may have something to dispatch, in turn
	inFlight   int       // deliveries, forced ones included
	duplicates int       // deliveries beyond the real ones, waiting ones included
	seq        uint32    // of the task created last
	idle       []worker  // that wait for an attempt, the latest last
	replaying  *queue    // that the last record of the journal was of
	record     []byte    // reused for encoding
	text       []byte    // likewise
	notes      notes
	facts      facts

	leap   leap
	alarms heap[*queue] // queues that wait for a time
	timer  *clock.Timer // for the first of alarms
	check  checkpoints
}

// Open starts an engine, with the state that the data folder holds.
func Open(o Options) (*Engine, error) {
	if o.Deliver == nil {
		return nil, errors.New("engine: no Deliver function")
	}
	if o.MaxInFlight < 0 {
		return nil, fmt.Errorf("engine: %d deliveries in flight: must not be negative", o.MaxInFlight)
	}
	o.MaxInFlight = cmp.Or(o.MaxInFlight, 1000)
	o.QueueTombstone = cmp.Or(o.QueueTombstone, 72*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{o: o, buried: graveyard{ttl: o.QueueTombstone}}
	if o.Dir != "" {
		log, err := journal.Open(o.Dir, &journal.Options{Fsync: o.Fsync, Logger: o.Logger}, e.replay)
		if err != nil {
			return nil, err
		}
		e.log, e.replaying = log, nil
		e.settleAll()
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.timer = o.Clock.NewTimer(maxSleep)
	e.running.Go(e.ring)

	e.mu.Lock()
	defer e.mu.Unlock()
	e.leap.seen = e.now()
	e.queues.Scan(func(_ string, q *queue) bool {
		e.wake(q)
		return true
	})
	e.dispatch()
	return e, nil
}

// Close cancels the deliveries in flight, whose tasks stay as they were, waits
// for them to return and closes the journal. Closing twice is harmless.
func (e *Engine) Close() error {
	e.mu.Lock()
	closed := e.closed
	e.closed = true
	for _, w := range e.idle {
		close(w)
	}
	e.idle = nil
	e.mu.Unlock()
	e.cancel()
	e.running.Wait()
	if closed {
		return nil
	}
	e.timer.Stop()
	return e.log.Close()
}

// now is the one time of the engine.
func (e *Engine) now() Micros { return Micros(e.o.Clock.Now().UnixMicro()) }

// write appends the record that f encodes. The caller holds the lock and
// changes the state only when there is no error.
func (e *Engine) write(f func(b []byte) []byte) (journal.Synced, error) {
	if e.log == nil {
		return journal.Synced{}, nil
	}
	e.checkpointWhenGrown() // first: the change isn't part of the state yet
	e.record = f(e.record[:0])
	return e.log.Append(e.record)
}

// queue returns a live queue.
func (e *Engine) queue(name string) (*queue, error) {
	if e.closed {
		return nil, ErrClosed
	}
	q, ok := e.queues.Get(name)
	if !ok {
		return nil, ErrQueueMissing
	}
	return q, nil
}
