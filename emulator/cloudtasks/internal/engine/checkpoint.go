package engine

import (
	"cmp"
	"errors"
	"slices"

	"github.com/latchwork/latchwork/emulator/internal/journal"
)

const (
	// smallestLog is the log size below which no checkpoint is worth its writes.
	smallestLog = 32 << 20
	// chunk is the number of tasks or tombstones encoded under one lock, and
	// chunkBytes the size at which a chunk of tasks ends early.
	chunk      = 256
	chunkBytes = 1 << 20
)

// checkpoints is the state of checkpointing.
type checkpoints struct {
	writing bool
	size    int64 // of the last one
	least   int64 // smallestLog, but for tests
}

// checkpointWhenGrown starts a checkpoint once the log has outgrown the last
// one. The caller holds the lock.
func (e *Engine) checkpointWhenGrown() {
	if e.check.writing || e.closed || e.log.Size() < max(cmp.Or(e.check.least, smallestLog), 2*e.check.size) {
		return
	}
	c, err := e.log.Rotate()
	if err != nil {
		e.o.Logger.Error("no checkpoint could be started; the journal goes on growing", "error", err)
		e.check.size = e.log.Size() // not at each record
		return
	}
	e.check.writing = true
	queues := e.queues.Values()
	e.buried.prune(e.now())
	deleted := slices.Collect(e.buried.all())
	notes, facts := e.notes.all(), e.facts.all()
	e.running.Go(func() {
		size, err := writeFacts(c, deleted, notes, facts)
		if err == nil {
			var more int64
			more, err = e.writeCheckpoint(c, queues)
			size += more
		}
		if err == nil {
			err = c.Commit()
		}
		if err != nil {
			c.Abort()
			size = e.log.Size() // not at each record
			if !errors.Is(err, ErrClosed) {
				e.o.Logger.Error("a checkpoint failed; the journal goes on growing", "error", err)
			}
		}
		e.mu.Lock()
		e.check.writing, e.check.size = false, size
		e.mu.Unlock()
	})
}

// writeFacts writes what is in no queue, as it was when the log was rotated.
func writeFacts(c *journal.Checkpoint, deleted []tombstone, notes []*Note, facts map[string][]byte) (size int64, err error) {
	write := func(record []byte) {
		if err == nil {
			err = c.Write(record)
			size += int64(len(record))
		}
	}
	write(appendTombstones(nil, "", true, deleted))
	for _, n := range notes {
		write(appendNote(nil, *n))
	}
	for key, value := range facts {
		write(appendFact(nil, Note{key, value}))
	}
	return size, err
}

// writeCheckpoint writes the queues while the engine goes on. Each task is
// written as it is when its turn comes: whatever happened to it since the log
// was rotated is in the log that is replayed after the checkpoint.
func (e *Engine) writeCheckpoint(c *journal.Checkpoint, queues []*queue) (size int64, err error) {
	var records [][]byte
	flush := func() error {
		for _, r := range records {
			if err := c.Write(r); err != nil {
				return err
			}
			size += int64(len(r))
		}
		records = records[:0]
		if e.ctx.Err() != nil {
			return ErrClosed
		}
		return nil
	}
	for _, q := range queues {
		e.mu.Lock()
		desc := q.Queue
		e.mu.Unlock()
		records = append(records, appendQueue(nil, &desc))
		for next, more := "", true; more; {
			if err := flush(); err != nil {
				return size, err
			}
			next, more = e.encodeTasks(q, next, &records)
		}
		// The tombstones come after the tasks: a purge, whose record names none,
		// may have taken tasks before their turn.
		e.mu.Lock()
		q.named.prune(e.now())
		q.anonymous.prune(e.now())
		named, anonymous := slices.Collect(q.named.all()), slices.Collect(q.anonymous.all())
		e.mu.Unlock()
		for ts := range slices.Chunk(named, chunk) {
			records = append(records, appendTombstones(nil, desc.Name, true, ts))
		}
		for ts := range slices.Chunk(anonymous, chunk) {
			records = append(records, appendTombstones(nil, desc.Name, false, ts))
		}
	}
	return size, flush()
}

// encodeTasks appends the records of a chunk of tasks, from the id next on.
func (e *Engine) encodeTasks(q *queue, next string, records *[][]byte) (after string, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	size := 0
	q.tasks.from(next, func(t *task) bool {
		if len(*records) >= chunk || size >= chunkBytes {
			after, more = t.id(), true
			return false
		}
		record := appendTask(nil, t, t.spec())
		*records = append(*records, record)
		size += len(record)
		return true
	})
	return after, more
}
