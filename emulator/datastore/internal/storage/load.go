package storage

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"google.golang.org/protobuf/proto"
)

// loader replays a journal into a store that nobody uses yet. Records are looked
// at in their order; the entities in them are decoded beside that, on all
// processors, and at the end every tree is built at once, of sorted rows.
type loader struct {
	store    *Store
	loadings map[*DB]*loading

	next *job // to be decoded, once it is large enough
	work chan *job
	free chan *job // whose buffers may be used again, which bounds them
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error // of decoding
}

// loading is what the journal says of one database: the outcome of each of its
// jobs, in their order.
type loading struct{ steps []*[]step }

// step is one entity that was written, or one that was deleted, of which there
// are the rows of its key.
type step struct {
	entity  *Entity
	before  *Entity // that it replaced or deleted
	logged  bool    // by a commit; otherwise by a checkpoint
	deleted bool
	past    bool // a later step has written or deleted the entity
}

// left is the entity that the step left.
func (s *step) left() *Entity {
	if s.deleted {
		return nil
	}
	return s.entity
}

// job is records of one database that are decoded together.
type job struct {
	db      *DB
	records []jobRecord
	buf     []byte // what the records say of entities, one behind the other
	steps   *[]step
}

type jobRecord struct {
	version int64 // of a commit
	logged  bool
	end     int // in buf
}

const jobSize = 128 << 10

func newLoader(s *Store) *loader {
	workers := runtime.GOMAXPROCS(0)
	l := &loader{store: s, loadings: map[*DB]*loading{}, work: make(chan *job), free: make(chan *job, 2*workers+1)}
	for range cap(l.free) {
		l.free <- new(job)
	}
	for range workers {
		l.wg.Go(func() {
			var d decoder
			for j := range l.work {
				if err := d.decode(j); err != nil {
					l.mu.Lock()
					l.err = err
					l.mu.Unlock()
				}
				l.free <- j
			}
		})
	}
	return l
}

// add notes what a record says of entities of a database.
func (l *loader) add(db *DB, version int64, logged bool, wire []byte) {
	if l.next != nil && (l.next.db != db || len(l.next.buf)+len(wire) > jobSize) {
		l.flush()
	}
	if l.next == nil {
		j := <-l.free
		*j = job{db: db, records: j.records[:0], buf: j.buf[:0], steps: new([]step)}
		l.next = j
		at := l.loadings[db]
		if at == nil {
			at = &loading{}
			l.loadings[db] = at
		}
		at.steps = append(at.steps, j.steps)
	}
	l.next.buf = append(l.next.buf, wire...)
	l.next.records = append(l.next.records, jobRecord{version: version, logged: logged, end: len(l.next.buf)})
}

func (l *loader) flush() {
	if l.next != nil {
		l.work <- l.next
		l.next = nil
	}
}

// forget drops what was said of a database so far.
func (l *loader) forget(db *DB) {
	l.flush()
	delete(l.loadings, db)
}

// finish builds the trees. It must be called, even when replaying has failed.
func (l *loader) finish() error {
	l.flush()
	close(l.work)
	l.wg.Wait()
	if l.err != nil {
		return l.err
	}
	for db, at := range l.loadings {
		db.tables.load(at.settle(db))
	}
	return nil
}

// decoder is what decoding takes beside what it keeps.
type decoder struct {
	rows  encoding.WireRows
	steps []step
}

func (d *decoder) decode(j *job) error {
	at := 0
	d.steps = d.steps[:0]
	for _, rec := range j.records {
		r := reader{b: j.buf[at:rec.end]}
		at = rec.end
		for r.more() {
			op, version := byte(opPut), rec.version
			if rec.logged {
				op = r.byte()
			} else {
				version = int64(r.uvarint())
			}
			var s step
			var err error
			switch op {
			case opPut:
				s.entity, err = restore(&r, version, &d.rows)
			case opDelete:
				s.entity, err = restoreKey(&r, version)
				s.deleted = true
			default:
				err = cmp.Or(r.err, fmt.Errorf("unknown operation %d", op))
			}
			if err != nil {
				return fmt.Errorf("datastore record of %s/%s: %w", j.db.ID.Project, j.db.ID.Database, err)
			}
			s.logged = rec.logged
			d.steps = append(d.steps, s)
		}
	}
	*j.steps = slices.Clone(d.steps)
	clear(d.steps)
	return nil
}

// restore returns an entity of a record.
func restore(r *reader, version int64, w *encoding.WireRows) (*Entity, error) {
	created := int64(r.uvarint())
	body := r.bytes()
	if r.err != nil {
		return nil, r.err
	}
	e := newEntity(append(make([]byte, 0, len(body)+createdBytes), body...))
	e.seal(version, created)
	var err error
	e.rows, err = w.Of(e.Body())
	return e, err
}

// restoreKey returns an entity that has only the key of a record.
func restoreKey(r *reader, version int64) (*Entity, error) {
	var k pb.Key
	wire := r.bytes()
	if r.err != nil {
		return nil, r.err
	}
	if err := proto.Unmarshal(wire, &k); err != nil {
		return nil, err
	}
	if len(k.GetPath()) == 0 {
		return nil, errors.New("a deletion without a key")
	}
	rows, err := encoding.RowsOf(&pb.Entity{Key: &k})
	return &Entity{rows: rows, Version: version}, err
}

// settle returns the entities that are left, in the order of their paths, after
// the past was noted.
func (at *loading) settle(db *DB) []*Entity {
	n := 0
	for _, of := range at.steps {
		n += len(*of)
	}
	steps := make([]step, 0, n)
	logged := 0
	for _, of := range at.steps {
		for _, s := range *of {
			if s.logged {
				logged++
			}
			steps = append(steps, s)
		}
		*of = nil
	}
	order := order(steps)
	db.history.changes = slices.Grow(db.history.changes, logged)
	for i := range steps {
		s := &steps[i]
		if !s.logged {
			continue
		}
		db.history.add(change{version: s.entity.Version, before: s.before, after: s.left()})
		if s.deleted && s.before != nil {
			db.gone.add(s.entity.Key(), s.entity.Version)
		}
	}
	live := make([]*Entity, 0, len(order))
	for _, x := range order {
		if s := &steps[x.of]; !s.past && !s.deleted {
			live = append(live, s.entity)
		}
	}
	return live
}

// order sorts steps by the paths of their entities, and tells those of the same
// entity of each other. A checkpoint has them in this order.
func order(steps []step) []item {
	items := make([]item, len(steps))
	for i := range items {
		items[i].of = uint32(i)
	}
	s := sorter{
		text: func(x item) string { return steps[x.of].entity.Path() },
		ties: func(same []item) { succeed(steps, same) },
	}
	if !s.sorted(items) {
		s.sort(items, 0)
	}
	return items
}

// succeed notes which of the steps of the same path are of the same entity: they
// may be of several namespaces.
func succeed(steps []step, same []item) {
	head := func(x item) string { return steps[x.of].entity.rows.Head(0) }
	slices.SortStableFunc(same, func(a, b item) int { return strings.Compare(head(a), head(b)) })
	for i := 1; i < len(same); i++ {
		if head(same[i-1]) != head(same[i]) {
			continue
		}
		before, now := &steps[same[i-1].of], &steps[same[i].of]
		before.past = true
		now.before = before.left()
	}
}
