package storage

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// DB is one database.
type DB struct {
	ID    ID
	store *Store

	mu      sync.RWMutex
	tables  tables
	version int64          // of the newest commit
	told    atomic.Int64   // µs: the newest time for which somebody was told the state
	synced  journal.Synced // the record of the newest commit
	buf     []byte
	gone    deletions
	history history

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
	v := View{tables: db.tables.snapshot(), Version: db.version}
	v.Time = db.TimeOf(v)
	return v
}

// Commit decides the mutations in their order and applies all of them under
// one new version, or none and returns why. Mutations that change nothing, and
// commits of nothing else, leave the version as it is.
// Wait on the returned Synced before telling anyone.
func (db *DB) Commit(mutations []Mutation) (Committed, error) {
	if len(mutations) == 0 {
		return Committed{Version: db.ReadTime()}, nil
	}
	db.mu.Lock()
	defer db.mu.Unlock()

	c := Committed{Version: db.nextVersion(), Results: make([]Result, len(mutations))}
	var pending map[string]*Entity // what earlier mutations of this commit left; nil: deleted
	if len(mutations) > 1 {
		pending = make(map[string]*Entity, len(mutations))
	}
	view := View{tables: db.tables, Version: db.version}
	for i := range mutations {
		m := &mutations[i]
		stored := view.Get(m.Key)
		current, touched := pending[m.Key]
		if !touched {
			current = stored
		}
		result, err := m.decide(stored, db.gone.of(m.Key, db.version), current, c.Version)
		if err != nil {
			return Committed{}, err
		}
		if result.applied() && m.Entity != nil {
			if err := db.tables.checkComposites(m.Entity); err != nil {
				return Committed{}, err
			}
		}
		c.Results[i] = result
		switch {
		case pending == nil || result.Conflict:
		case result.Unchanged:
			pending[m.Key] = current
		default:
			pending[m.Key] = m.Entity
		}
	}
	if !slices.ContainsFunc(c.Results, Result.applied) {
		c.Version, c.Synced = db.TimeOf(view), db.synced // of what is there already
		return c, nil
	}

	var err error
	db.buf = appendCommit(db.buf[:0], db.ID, c.Version, mutations, c.Results)
	if c.Synced, err = db.store.journal.Append(db.buf); err != nil {
		return Committed{}, err
	}
	if cap(db.buf) > maxKeptBuffer {
		db.buf = nil
	}
	db.version, db.synced = c.Version, c.Synced
	for i := range mutations {
		if c.Results[i].applied() {
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
	db.history.add(change{version: version, before: before, after: m.Entity})
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
				if namespace, kind, err := encoding.CutKindRow(r.Head); err == nil {
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
