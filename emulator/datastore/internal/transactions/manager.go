package transactions

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// Options tunes a Manager; nil and the zero value mean the defaults stated.
type Options struct {
	Optimistic bool          // false: pessimistic
	Idle       time.Duration // 60 s: a transaction without requests for so long expires
	Max        time.Duration // 270 s: and every transaction after so long
}

const (
	defaultIdle = 60 * time.Second
	defaultMax  = 270 * time.Second
	maxOpen     = 100_000
)

// Manager runs the transactions of one database. Every commit to the database
// must go through it.
type Manager struct {
	db       *storage.DB
	database uint32 // its digest
	o        Options

	mu    sync.Mutex
	last  uint64         // newest transaction number
	open  map[uint64]*Tx // aborted ones too, until their client hears of it
	locks locks
	queue queue
	stats Stats
}

// Stats counts what a Manager has done and has at hand.
type Stats struct {
	Open, Waiting            int
	Commits, Aborts, Expired int64
}

// New returns the Manager of db.
func New(db *storage.DB, o *Options) *Manager {
	m := &Manager{db: db, database: digest(db.ID), open: map[uint64]*Tx{}, locks: newLocks(), queue: newQueue()}
	if o != nil {
		m.o = *o
	}
	if m.o.Idle <= 0 {
		m.o.Idle = defaultIdle
	}
	if m.o.Max <= 0 {
		m.o.Max = defaultMax
	}
	// Numbers of an earlier run of the server are smaller: its clients are
	// told that their transactions are closed.
	m.last = uint64(max(1, db.ReadTime()))
	return m
}

// Begin starts a read-write transaction. previous, if not empty, is the
// transaction that this one tries again, whose age it inherits.
func (m *Manager) Begin(previous []byte) (*Tx, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	age, err := m.previous(previous)
	if err != nil {
		return nil, err
	}
	tx, err := m.begin()
	if err == nil && age != 0 {
		tx.age = age
	}
	return tx, err
}

// CheckPrevious refuses what no transaction could be the retry of.
func (m *Manager) CheckPrevious(previous []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.previous(previous)
	return err
}

// previous returns the age of the transaction that a new one tries again; 0
// without one.
func (m *Manager) previous(id []byte) (age uint64, err error) {
	if len(id) == 0 {
		return 0, nil
	}
	number, age, err := m.parseID(id)
	if err != nil {
		return 0, err
	}
	if tx := m.open[number]; tx != nil && tx.readOnly {
		return 0, ErrRetryReadOnly
	}
	return age, nil
}

// BeginReadOnly starts a transaction that reads the given state, or when that
// is nil the present one.
func (m *Manager) BeginReadOnly(past *storage.View) (*Tx, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx, err := m.begin()
	if err != nil {
		return nil, err
	}
	if past == nil {
		v := m.db.Snapshot()
		past = &v
	}
	tx.readOnly, tx.snapshot = true, past
	return tx, nil
}

func (m *Manager) begin() (*Tx, error) {
	if len(m.open) >= maxOpen {
		return nil, ErrTooMany
	}
	tx := m.newTx()
	m.open[tx.id] = tx
	tx.timer = time.AfterFunc(min(m.o.Idle, m.o.Max), func() { m.expire(tx) })
	return tx, nil
}

func (m *Manager) newTx() *Tx {
	m.last++
	now := time.Now()
	return &Tx{id: m.last, age: m.last, database: m.database, begun: now, used: now}
}

// Find returns the open transaction that a client names.
func (m *Manager) Find(id []byte) (*Tx, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(id)
}

func (m *Manager) find(id []byte) (*Tx, error) {
	number, age, err := m.parseID(id)
	if err != nil {
		return nil, err
	}
	tx := m.open[number]
	if tx == nil || tx.age != age {
		return nil, ErrClosed
	}
	return tx, nil
}

// Read runs read for tx: on its snapshot, or on the live state once everything
// that read says it touched is locked. It may run several times and with other
// requests waiting for it: it must not block, and only the last run counts.
func (m *Manager) Read(ctx context.Context, tx *Tx, read func(storage.View) Footprint) error {
	if tx.readOnly || m.o.Optimistic {
		return m.readSnapshot(tx, read)
	}
	r := &request{tx: tx, ctx: ctx}
	r.touch = func() error {
		m.db.Read(func(v storage.View) { r.fp = read(v) })
		return nil
	}
	r.grant = func() error {
		m.locks.hold(tx, &r.fp)
		return nil
	}
	return m.run(r)
}

func (m *Manager) readSnapshot(tx *Tx, read func(storage.View) Footprint) error {
	m.mu.Lock()
	if err := tx.usable(); err != nil {
		m.mu.Unlock()
		return err
	}
	if tx.snapshot == nil {
		v := m.db.Snapshot()
		tx.snapshot = &v
	}
	view := *tx.snapshot
	tx.running++
	m.mu.Unlock()

	fp := read(view)

	m.mu.Lock()
	defer m.mu.Unlock()
	m.leave(tx)
	if !tx.readOnly {
		tx.read.Keys = append(tx.read.Keys, fp.Keys...)
		tx.read.Ranges = append(tx.read.Ranges, fp.Ranges...)
	}
	return tx.usable()
}

// Commit applies the mutations, in tx or, when it is nil, on their own, and
// ends tx, whether it succeeds or not; only an error of a mutation's Compute,
// and the end of ctx before its turn, leave it open. Wait on the Synced of the
// result before telling anyone.
func (m *Manager) Commit(ctx context.Context, tx *Tx, mutations []storage.Mutation) (storage.Committed, error) {
	var done storage.Committed
	r := &request{tx: tx, ctx: ctx, mutations: mutations}
	if tx != nil && tx.readOnly && len(mutations) > 0 {
		return done, ErrReadOnly
	}
	r.touch = func() error {
		if err := m.db.Prepare(mutations); err != nil || r.fp.Keys != nil {
			return err
		}
		r.fp.Keys = make([]string, len(mutations))
		for i := range mutations {
			r.fp.Keys[i] = mutations[i].Key
		}
		return nil
	}
	r.grant = func() error {
		err := m.validate(r.tx)
		if err == nil {
			done, err = m.db.Commit(mutations)
		}
		if err == nil {
			m.stats.Commits++
		}
		if tx != nil {
			m.end(tx, closed)
		}
		return err
	}
	err := m.run(r)
	if _, ok := errors.AsType[*ContentionError](err); ok && tx != nil {
		m.Drop(tx) // aborted while it waited or before: now its client has heard of it
	}
	return done, err
}

// Rollback ends the transaction. Ending one that has ended is no error.
func (m *Manager) Rollback(id []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx, err := m.find(id)
	if errors.Is(err, ErrClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	m.end(tx, closed)
	m.settle()
	return nil
}

// Drop ends a transaction that its client won't end: one that it never heard of,
// or that it was told is over.
func (m *Manager) Drop(tx *Tx) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(tx, closed)
	m.settle()
}

// Close ends all transactions.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, tx := range m.open {
		m.end(tx, closed)
	}
	m.settle()
}

// Reset ends all transactions and deletes everything in the database.
func (m *Manager) Reset() error {
	m.mu.Lock()
	for _, tx := range m.open {
		m.end(tx, closed)
	}
	synced, err := m.db.Reset()
	m.settle()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return synced.Wait()
}

// Stats returns the counts of this moment.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Open, s.Waiting = len(m.open), m.queue.len()
	return s
}

// usable says why a transaction can't be used any more.
func (tx *Tx) usable() error {
	switch tx.state {
	case open:
		return nil
	case aborted:
		return &ContentionError{}
	}
	return ErrClosed
}

// leave marks the end of one of tx's requests.
func (m *Manager) leave(tx *Tx) {
	tx.running--
	tx.used = time.Now()
}

// end closes or aborts tx and hands its locks to those who wait for them, as
// soon as settle runs.
func (m *Manager) end(tx *Tx, s state) {
	if tx.state == closed {
		return
	}
	m.locks.release(tx)
	tx.snapshot, tx.read = nil, Footprint{}
	tx.state = s
	if s == closed {
		delete(m.open, tx.id)
		if tx.timer != nil {
			tx.timer.Stop()
		}
	}
	for _, r := range slices.Clone(tx.waiting) {
		err := tx.usable()
		if s == aborted {
			err = &ContentionError{EntityRow: r.on.key}
		}
		m.finish(r, err)
	}
	m.queue.wake(tx.behind)
	tx.behind = nil
}

// expire runs on a transaction's timer.
func (m *Manager) expire(tx *Tx) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tx.state == closed {
		return
	}
	left := m.o.Max - time.Since(tx.begun)
	if tx.running > 0 {
		left = min(left, m.o.Idle)
	} else {
		left = min(left, m.o.Idle-time.Since(tx.used))
	}
	if left > 0 {
		tx.timer.Reset(left)
		return
	}
	m.stats.Expired++
	m.end(tx, closed)
	m.settle()
}

// validate checks what an optimistic transaction has read against the present.
func (m *Manager) validate(tx *Tx) (err error) {
	if tx.snapshot == nil || tx.readOnly {
		return nil
	}
	m.db.Read(func(now storage.View) {
		then := *tx.snapshot
		if now.Version == then.Version {
			return
		}
		for _, k := range tx.read.Keys {
			if now.Get(k) != then.Get(k) {
				err = &ContentionError{EntityRow: k}
				return
			}
		}
		for _, r := range tx.read.Ranges {
			if !sameRows(now, then, r) {
				err = &ContentionError{}
				return
			}
		}
	})
	if err != nil {
		m.stats.Aborts++
	}
	return err
}

// sameRows reports whether two states have the same rows, of the same versions
// of entities, in r.
func sameRows(a, b storage.View, r Range) bool {
	if !a.Keeps(r.Lo) || !b.Keeps(r.Lo) || a.Count(r.Lo, r.Hi) != b.Count(r.Lo, r.Hi) {
		return false
	}
	var rows []storage.Row
	a.Ascend(r.Lo, r.Hi, func(row storage.Row) bool {
		rows = append(rows, row)
		return true
	})
	same := true
	b.Ascend(r.Lo, r.Hi, func(row storage.Row) bool {
		same = rows[0] == row
		rows = rows[1:]
		return same
	})
	return same
}
