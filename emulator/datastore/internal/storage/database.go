package storage

import (
	"sync"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// DB is one database.
type DB struct {
	ID    ID
	store *Store

	mu      sync.RWMutex
	tables  tables
	version int64 // of the newest commit
	buf     []byte
	gone    deletions

	ids       uint64              // counter of automatic identifiers
	idsKept   uint64              // how far the journal says that it may have got
	idsSynced journal.Synced      // the record that says so
	reserved  map[uint64]struct{} // counters that ReserveIDs took out
}

// Read calls f with the live state, which doesn't change meanwhile. f must not
// keep the View nor wait for anything.
func (db *DB) Read(f func(View)) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	f(View{tables: db.tables, Version: db.version})
}

// Snapshot returns the present state for keeping, in constant time. Each one
// makes later commits copy the tree nodes that they touch.
func (db *DB) Snapshot() View {
	db.mu.Lock()
	defer db.mu.Unlock()
	return View{tables: db.tables.snapshot(), Version: db.version}
}

// ReadTime is the time (µs) that a strong read made now speaks for.
func (db *DB) ReadTime() int64 {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return max(now(), db.version)
}

// Commit decides the mutations in their order and applies all of them under
// one new version, or none and returns why. Without mutations it does nothing.
// Wait on the returned Synced before telling anyone.
func (db *DB) Commit(mutations []Mutation) (Committed, error) {
	if len(mutations) == 0 {
		return Committed{Version: db.ReadTime()}, nil
	}
	db.mu.Lock()
	defer db.mu.Unlock()

	c := Committed{Version: max(now(), db.version+1), Results: make([]Result, len(mutations))}
	var pending map[string]*Entity // what earlier mutations of this commit left; nil: deleted
	if len(mutations) > 1 {
		pending = make(map[string]*Entity, len(mutations))
	}
	view := View{tables: db.tables, Version: db.version}
	for i := range mutations {
		m := &mutations[i]
		current, touched := pending[m.Key]
		if !touched {
			current = view.Get(m.Key)
		}
		result, err := m.decide(current, db.gone.of(m.Key), touched, c.Version)
		if err != nil {
			return Committed{}, err
		}
		c.Results[i] = result
		if pending != nil && !result.Conflict {
			pending[m.Key] = m.Entity
		}
	}

	var err error
	db.buf = appendCommit(db.buf[:0], db.ID, c.Version, mutations, c.Results)
	if c.Synced, err = db.store.journal.Append(db.buf); err != nil {
		return Committed{}, err
	}
	if cap(db.buf) > maxKeptBuffer {
		db.buf = nil
	}
	db.version = c.Version
	for i := range mutations {
		if !c.Results[i].Conflict {
			c.IndexUpdates += db.apply(&mutations[i], c.Version)
		}
	}
	db.store.checkpoints.consider(db.store)
	return c, nil
}

// maxKeptBuffer bounds the record buffer that a database keeps between commits.
const maxKeptBuffer = 1 << 20

// apply makes one mutation of the commit with this version. It returns how many
// index entries changed.
func (db *DB) apply(m *Mutation, version int64) (updates int) {
	before, updates := db.tables.put(m.Key, m.Entity)
	if before != nil && m.Entity == nil {
		db.gone.add(m.Key, version)
	}
	return updates
}

// Committed is the outcome of a commit.
type Committed struct {
	Version      int64 // µs; also the commit time
	Results      []Result
	IndexUpdates int
	Synced       journal.Synced
}

// KindCount is the number of entities of one kind.
type KindCount struct {
	Namespace, Kind string
	Entities        int
}

// Kinds lists the kinds with entities, in order of namespace and kind.
func (db *DB) Kinds() []KindCount {
	var kinds []KindCount
	db.Read(func(v View) {
		next := encoding.AllKinds
		for {
			var found *KindCount
			v.Ascend(next, encoding.PrefixEnd(encoding.AllKinds), func(r Row) bool {
				if namespace, kind, err := encoding.CutKindRow(r.Key); err == nil {
					found = &KindCount{Namespace: namespace, Kind: kind}
				}
				return false
			})
			if found == nil {
				return
			}
			prefix := encoding.KindPrefix(found.Namespace, found.Kind)
			next = encoding.PrefixEnd(prefix)
			found.Entities = v.Count(prefix, next)
			kinds = append(kinds, *found)
		}
	})
	return kinds
}
