package messages

import (
	"crypto/rand"
	"errors"
	"maps"
	"time"

	"cloud.google.com/go/datastore"

	"github.com/latchwork/latchwork/tasks"
)

// Root is a root entity and what lies under it, inside a transaction. Datastore
// does not show a transaction its own writes; Root does, so that mutations that
// share a transaction build on one another.
type Root struct {
	Key *datastore.Key

	app   *App
	tx    *tasks.Tx
	below *Root // what the mutations before this one left; nil at the bottom

	entities map[string]entity // by encoded key
	emitted  []pending         // for this same root, in order
	enqueues []func(*tasks.Tx) error
}

// entity is what the transaction knows about a key.
type entity struct {
	key    *datastore.Key
	exists bool
	props  datastore.PropertyList
	dirty  bool          // to be written
	entry  *journalEntry // what props are, if it is a journal entry that we wrote
}

// pending is a mutation and where the journal has it.
type pending struct {
	key      *datastore.Key
	mutation Mutation
}

func (a *App) newRoot(key *datastore.Key, tx *tasks.Tx) *Root {
	return &Root{Key: key, app: a, tx: tx, entities: make(map[string]entity)}
}

// fork returns a view on r whose changes reach r by merge only.
func (r *Root) fork() *Root {
	return &Root{Key: r.Key, app: r.app, tx: r.tx, below: r, entities: make(map[string]entity)}
}

func (r *Root) merge(fork *Root) {
	maps.Copy(r.entities, fork.entities)
	r.enqueues = append(r.enqueues, fork.enqueues...)
}

// Get loads the entity of key into dst, a pointer to a struct. Without one it
// returns datastore.ErrNoSuchEntity.
func (r *Root) Get(key *datastore.Key, dst any) error {
	e, err := r.lookup(key)
	if err != nil {
		return err
	}
	if !e.exists {
		return datastore.ErrNoSuchEntity
	}
	return datastore.LoadStruct(dst, e.props)
}

func (r *Root) lookup(key *datastore.Key) (entity, error) {
	id := key.Encode()
	for view := r; view != nil; view = view.below {
		if e, ok := view.entities[id]; ok {
			return e, nil
		}
	}
	e := entity{key: key}
	err := r.tx.Get(key, &e.props)
	if err != nil && !errors.Is(err, datastore.ErrNoSuchEntity) {
		return entity{}, err
	}
	e.exists = err == nil
	r.entities[id] = e
	return e, nil
}

// Put writes src, a pointer to a struct, under key.
func (r *Root) Put(key *datastore.Key, src any) error {
	props, err := datastore.SaveStruct(src)
	if err != nil {
		return err
	}
	r.entities[key.Encode()] = entity{key: key, exists: true, props: props, dirty: true}
	return nil
}

// Delete deletes the entity of key, if there is one.
func (r *Root) Delete(key *datastore.Key) {
	r.entities[key.Encode()] = entity{key: key, dirty: true}
}

// Emit puts m into the journal, to run soon.
func (r *Root) Emit(m Mutation) error { return r.EmitNamed(rand.Text(), time.Now(), m) }

// EmitNamed puts m into the journal, to run after the given time. A mutation
// that this root emitted earlier under the same name is replaced.
func (r *Root) EmitNamed(name string, after time.Time, m Mutation) error {
	entry, err := r.app.types.encode(m, r.Key.Namespace, after)
	if err != nil {
		return err
	}
	key := r.journalKey(name)
	if err := r.putEntry(key, entry); err != nil {
		return err
	}
	if !entry.TargetRoot.Equal(r.Key) || after.After(time.Now()) {
		return nil
	}
	m, err = r.app.types.decode(entry) // as any other worker would see it
	r.emitted = append(r.emitted, pending{key, m})
	return err
}

// postpone leaves a mutation that has failed for later: 1 s at first, doubling
// to 17 min.
func (r *Root) postpone(key *datastore.Key) error {
	var entry journalEntry
	if err := r.Get(key, &entry); errors.Is(err, datastore.ErrNoSuchEntity) {
		return nil // cancelled
	} else if err != nil {
		return err
	}
	entry.ProcessAfter = time.Now().Add(time.Second << min(entry.Failures, 10))
	entry.Failures++
	return r.putEntry(key, &entry)
}

func (r *Root) putEntry(key *datastore.Key, entry *journalEntry) error {
	props, err := datastore.SaveStruct(entry)
	if err != nil {
		return err
	}
	r.entities[key.Encode()] = entity{key: key, exists: true, props: props, dirty: true, entry: entry}
	return nil
}

// Cancel takes the mutation that this root emitted under name out of the
// journal, if it still waits there.
func (r *Root) Cancel(name string) { r.Delete(r.journalKey(name)) }

func (r *Root) journalKey(name string) *datastore.Key {
	key := datastore.NameKey(journalKind, name, r.Key)
	key.Namespace = r.Key.Namespace
	return key
}

// Enqueue calls f, which enqueues tasks, if and when the mutation's writes are
// about to be committed.
func (r *Root) Enqueue(f func(*tasks.Tx) error) { r.enqueues = append(r.enqueues, f) }

// flush hands everything to the transaction: the writes, and the tasks. Among
// these are the runs of the shards that new journal entries fall into.
func (r *Root) flush() error {
	var puts, deletes []*datastore.Key
	var props []datastore.PropertyList
	wake := make(wakeups)
	for _, e := range r.entities {
		switch {
		case !e.dirty:
		case !e.exists:
			deletes = append(deletes, e.key)
		default:
			puts, props = append(puts, e.key), append(props, e.props)
			if e.entry != nil {
				wake.add(r.app.shardOf(e.entry.ExpandedShard), e.entry.ProcessAfter, r.app.o.Slot)
			}
		}
	}
	if _, err := r.tx.PutMulti(puts, props); err != nil {
		return err
	}
	if err := r.tx.DeleteMulti(deletes); err != nil {
		return err
	}
	for _, enqueue := range r.enqueues {
		if err := enqueue(r.tx); err != nil {
			return err
		}
	}
	return r.app.stage(r.tx, wake)
}
