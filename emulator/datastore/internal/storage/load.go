package storage

import (
	"fmt"
	"runtime"
	"sync"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"google.golang.org/protobuf/proto"
)

// loader replays a journal into a store that nobody uses yet. Records are taken
// apart in their order; entities are decoded beside that, on all processors, and
// at the end every tree is built at once, of sorted rows.
type loader struct {
	store    *Store
	loadings map[*DB]*loading

	batch []*Entity // to be decoded
	work  chan []*Entity
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error // of decoding
}

// loading is what the journal says of one database.
type loading struct {
	steps  []step
	logged bool // a step is not of the checkpoint
}

// step is one entity that was written, or one key that was deleted.
type step struct {
	version int64
	logged  bool   // by a commit; otherwise by a checkpoint
	key     string // of what was deleted
	entity  *Entity
}

func (s *step) row() string {
	if s.entity != nil {
		return s.entity.Key()
	}
	return s.key
}

const decodeBatch = 256

func newLoader(s *Store) *loader {
	l := &loader{store: s, loadings: map[*DB]*loading{}, work: make(chan []*Entity, 16)}
	for range runtime.GOMAXPROCS(0) {
		l.wg.Go(func() {
			var w encoding.WireRows
			for batch := range l.work {
				for _, e := range batch {
					if err := e.restore(&w); err != nil {
						l.mu.Lock()
						l.err = err
						l.mu.Unlock()
					}
				}
			}
		})
	}
	return l
}

func (l *loader) of(db *DB) *loading {
	at := l.loadings[db]
	if at == nil {
		at = &loading{}
		l.loadings[db] = at
	}
	return at
}

// put notes an entity of a record.
func (l *loader) put(db *DB, r *reader, version int64, logged bool) {
	created := int64(r.uvarint())
	body := r.bytes()
	if r.err != nil {
		return
	}
	e := newEntity(append(make([]byte, 0, len(body)+createdBytes), body...))
	e.seal(version, created)
	if l.batch = append(l.batch, e); len(l.batch) == decodeBatch {
		l.work <- l.batch
		l.batch = nil
	}
	at := l.of(db)
	at.steps, at.logged = append(at.steps, step{version: version, entity: e, logged: logged}), at.logged || logged
}

// restore derives the rows of an entity that has its wire form already.
func (e *Entity) restore(w *encoding.WireRows) (err error) {
	e.rows, err = w.Of(e.Body())
	return err
}

// remove notes a deletion of a record.
func (l *loader) remove(db *DB, r *reader, version int64) {
	var k pb.Key
	wire := r.bytes()
	if r.err != nil {
		return
	}
	if err := proto.Unmarshal(wire, &k); err != nil {
		r.fail(err)
		return
	}
	at := l.of(db)
	at.steps, at.logged = append(at.steps, step{version: version, key: encoding.EntityRow(&k), logged: true}), true
}

// finish builds the trees. It must be called, even when replaying has failed.
func (l *loader) finish() error {
	l.work <- l.batch
	close(l.work)
	l.wg.Wait()
	if l.err != nil {
		return fmt.Errorf("datastore record: %w", l.err)
	}
	for db, at := range l.loadings {
		db.tables.load(at.settle(db))
	}
	return nil
}

// settle returns the entities that are left, after the past was noted.
func (at *loading) settle(db *DB) []*Entity {
	live := make([]*Entity, 0, len(at.steps))
	if !at.logged {
		for i := range at.steps {
			live = append(live, at.steps[i].entity)
		}
		return live
	}
	last := make(map[string]int, len(at.steps))
	for i := range at.steps {
		s := &at.steps[i]
		key := s.row()
		var before *Entity
		if j, ok := last[key]; ok {
			before = at.steps[j].entity
			at.steps[j].entity = nil // no longer the last
		}
		last[key] = i
		if !s.logged {
			continue
		}
		db.history.add(change{version: s.version, before: before, after: s.entity})
		if before != nil && s.entity == nil {
			db.gone.add(key, s.version)
		}
	}
	for i := range at.steps {
		if e := at.steps[i].entity; e != nil {
			live = append(live, e)
		}
	}
	return live
}
