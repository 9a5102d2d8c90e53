package storage

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// checkpointAfter is how large the log may grow before the state is written
// anew, unless the last checkpoint was larger: writing is amortised.
const checkpointAfter = 64 << 20

// checkpoints runs at most one checkpoint at a time, in the background.
type checkpoints struct {
	running atomic.Bool
	size    atomic.Int64 // of the last one, or what the log may grow to after a failure
	wg      sync.WaitGroup
	closing atomic.Bool
}

// consider starts a checkpoint when the log has grown enough. It is called
// with a database locked, so it only looks.
func (c *checkpoints) consider(s *Store) {
	if s.journal.Size() < max(checkpointAfter, c.size.Load()) || c.closing.Load() || !c.running.CompareAndSwap(false, true) {
		return
	}
	c.wg.Go(func() {
		defer c.running.Store(false)
		if err := s.Checkpoint(); err != nil {
			c.size.Store(2 * s.journal.Size()) // not at each commit
			s.logger.Error("datastore: checkpoint failed; the log keeps growing", slog.Any("error", err))
		}
	})
}

func (c *checkpoints) wait() {
	c.closing.Store(true)
	c.wg.Wait()
}

// Checkpoint writes the present state as the journal's new beginning.
func (s *Store) Checkpoint() error {
	// Every database stands still for the moment in which the log turns over
	// and its tree is copied; the writing happens beside running commits.
	s.mu.Lock()
	var states []dbState
	for _, db := range s.databases {
		db.mu.Lock()
	}
	cp, err := s.journal.Rotate()
	for _, db := range s.databases {
		if err == nil {
			states = append(states, db.state())
		}
		db.mu.Unlock()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer cp.Abort()

	w := checkpointWriter{cp: cp}
	for _, st := range states {
		if err := w.write(st); err != nil {
			return err
		}
	}
	s.checkpoints.size.Store(w.size)
	return cp.Commit()
}

// dbState is what a checkpoint keeps of a database.
type dbState struct {
	id       ID
	view     View
	idsKept  uint64
	reserved []uint64
}

func (db *DB) state() dbState {
	st := dbState{id: db.ID, view: View{tables: db.tables.snapshot(), Version: db.version}, idsKept: db.idsKept}
	for n := range db.reserved {
		st.reserved = append(st.reserved, n)
	}
	return st
}

// checkpointChunk is where a record of entities ends and the next begins.
const checkpointChunk = 256 << 10

type checkpointWriter struct {
	cp   *journal.Checkpoint
	size int64
	buf  []byte
}

func (w *checkpointWriter) write(st dbState) error {
	if err := w.flush(appendState(w.buf[:0], st.id, st.view.Version, st.idsKept)); err != nil {
		return err
	}
	if len(st.reserved) > 0 {
		if err := w.flush(appendReserved(w.buf[:0], st.id, st.reserved)); err != nil {
			return err
		}
	}
	w.buf = appendHeader(w.buf[:0], recordEntities, st.id)
	empty := len(w.buf)
	var err error
	st.view.Ascend(encoding.AllEntities, encoding.PrefixEnd(encoding.AllEntities), func(r Row) bool {
		w.buf = appendEntity(w.buf, r.Entity)
		if len(w.buf) >= checkpointChunk {
			err = w.flush(w.buf)
			w.buf = appendHeader(w.buf[:0], recordEntities, st.id)
		}
		return err == nil
	})
	if err == nil && len(w.buf) > empty {
		err = w.flush(w.buf)
	}
	return err
}

func (w *checkpointWriter) flush(record []byte) error {
	w.buf = record
	w.size += int64(len(record))
	return w.cp.Write(record)
}
