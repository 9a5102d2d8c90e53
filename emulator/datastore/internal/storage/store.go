package storage

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// ID names a database: a project and a database identifier, "" being the
// project's default database.
type ID struct{ Project, Database string }

// Store holds all databases of one server.
type Store struct {
	journal *journal.Journal // nil in memory
	clock   *clock.Clock
	logger  *slog.Logger

	mu        sync.RWMutex
	databases map[ID]*DB
	indexes   map[string]*Composite // by Definition.Key, without rows
	numbers   uint32                // of indexes, so far
	indexing  sync.Mutex            // one SetIndexes at a time

	checkpoints checkpoints
}

// Options for Open; nil and the zero value mean memory only.
type Options struct {
	Dir    string        // data folder; "" keeps everything in memory
	Fsync  journal.Fsync // as package journal says
	Clock  *clock.Clock  // of versions and read times; nil is the machine's
	Logger *slog.Logger  // nil discards
}

// Open opens the store and replays its journal.
func Open(o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	s := &Store{clock: o.Clock, logger: o.Logger, databases: map[ID]*DB{}}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" {
		return s, nil
	}
	l := newLoader(s)
	j, err := journal.Open(o.Dir, &journal.Options{Fsync: o.Fsync, Logger: o.Logger}, l.replay)
	if failed := l.finish(); err == nil && failed != nil {
		err = errors.Join(failed, j.Close())
	}
	if err != nil {
		return nil, err
	}
	s.journal = j
	return s, nil
}

// Close waits for a running checkpoint and closes the journal. Commits that
// come later are refused by it.
func (s *Store) Close() error {
	s.checkpoints.wait()
	return s.journal.Close()
}

// DB returns the database, creating it when it is new: Datastore's databases
// need no declaration on an emulator.
func (s *Store) DB(id ID) *DB {
	s.mu.RLock()
	db := s.databases[id]
	s.mu.RUnlock()
	if db != nil {
		return db
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if db = s.databases[id]; db == nil {
		db = &DB{ID: id, store: s, tables: newTables(), reserved: map[uint64]struct{}{}}
		db.gone.forgotten = s.now()
		db.setIndexes(s.indexes)
		s.databases[id] = db
	}
	return db
}

// All returns the databases, ordered by project and identifier.
func (s *Store) All() []*DB {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*DB, 0, len(s.databases))
	for _, db := range s.databases {
		all = append(all, db)
	}
	slices.SortFunc(all, func(a, b *DB) int {
		return cmp.Or(cmp.Compare(a.ID.Project, b.ID.Project), cmp.Compare(a.ID.Database, b.ID.Database))
	})
	return all
}

// Reset deletes all entities. Versions and identifiers go on where they were.
// Wait on the returned Synced before telling anyone.
func (db *DB) Reset() (journal.Synced, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	version := db.nextVersion()
	synced, err := db.store.journal.Append(appendReset(nil, db.ID, version))
	if err != nil {
		return synced, err
	}
	db.tables, db.version, db.synced, db.gone.forgotten = db.tables.emptied(), version, synced, version
	db.history.forget(version)
	return synced, nil
}
