package storage

import (
	"bytes"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
)

// Op is what a mutation does.
type Op uint8

// The four operations of Datastore.
const (
	Insert Op = iota + 1 // must not exist
	Update               // must exist
	Upsert
	Delete // need not exist
)

// String is the operation's name in error texts.
func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Upsert:
		return "upsert"
	}
	return "delete"
}

// Mutation changes one entity.
type Mutation struct {
	Op      Op
	Key     string  // entity row
	KeyWire []byte  // wire form of the key, for deletions
	Entity  *Entity // prepared by NewEntity; nil for Delete

	// Base is what the stored entity must be like, or the mutation conflicts.
	Base Base

	// Compute, when set, makes Entity of what the mutation finds (nil: nothing)
	// at a time (µs). Prepare calls it, perhaps several times, and nobody else.
	Compute func(current *Entity, now int64) (*Entity, error)
}

// Base is a mutation's condition on the stored entity; the zero value has none.
// A missing entity meets 0, and the version of every state in which it was
// missing without interruption until now: that is what lookups report of it.
type Base struct {
	Kind  BaseKind
	Value int64 // a version, or an update time in µs
	Fail  bool  // a conflict fails the commit instead of skipping the mutation
}

// BaseKind says what Base.Value is compared with.
type BaseKind uint8

// Versions and update times are the same number. A missing entity has the update
// time of its deletion, and any version since then.
const (
	NoBase BaseKind = iota
	BaseVersion
	BaseUpdateTime
)

// Result is the outcome of one mutation.
type Result struct {
	Version   int64 // of the entity after the commit, or of the stored one on a conflict
	Created   int64 // 0 after a deletion
	Conflict  bool  // the mutation was not applied
	Unchanged bool  // the stored entity says the same already, and keeps its version
}

func (r Result) applied() bool { return !r.Conflict && !r.Unchanged }

// ExistsError says that an inserted entity exists already.
type ExistsError struct{ Key string }

func (e *ExistsError) Error() string { return "entity already exists" }

// MissingError says that an updated entity doesn't exist.
type MissingError struct{ Key string }

func (e *MissingError) Error() string { return "no entity to update" }

// FutureError says that a base is newer than the stored entity.
type FutureError struct{ Key string }

func (e *FutureError) Error() string {
	return "Invalid base version, it is greater than the stored version"
}

// ConflictError says that a base was not met and the mutation asked to fail.
type ConflictError struct{ Stored, Wanted int64 } // versions, or update times in µs, which are the same

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the stored version (%d) does not match the required base version (%d)", e.Stored, e.Wanted)
}

// Prepare computes the entities of the mutations that depend on what they find.
// They hold until the next commit to the database.
func (db *DB) Prepare(mutations []Mutation) error {
	if !slices.ContainsFunc(mutations, func(m Mutation) bool { return m.Compute != nil }) {
		return nil
	}
	at := db.store.now()
	left := make(map[string]*Entity, len(mutations)) // by earlier mutations
	for i := range mutations {
		m := &mutations[i]
		var stored *Entity
		var gone deletion
		db.Read(func(v View) { stored, gone = v.Get(m.Key), db.gone.of(m.Key, v.Version) })
		if !m.Base.met(stored, gone) {
			continue
		}
		current, touched := left[m.Key]
		if !touched {
			current = stored
		}
		if m.Compute != nil {
			var err error
			if m.Entity, err = m.Compute(current, at); err != nil {
				return err
			}
		}
		left[m.Key] = m.Entity
	}
	return nil
}

// met reports whether an entity (nil: none) is what the base demands.
func (b Base) met(stored *Entity, gone deletion) bool {
	switch {
	case b.Kind == NoBase:
		return true
	case stored != nil:
		return b.Value == stored.Version
	}
	return b.Value == 0 || b.Value == gone.version || b.Kind == BaseVersion && gone.latest <= b.Value && b.Value <= max(1, gone.now)
}

// decide checks m and seals its entity. stored is the entity before the commit
// (nil: none): that is what bases are about. current is what earlier mutations
// of the commit have made of it.
func (m *Mutation) decide(stored *Entity, gone deletion, current *Entity, version int64) (Result, error) {
	if m.Op == Insert && stored != nil && current != nil && !m.Base.Fail {
		return Result{}, &ExistsError{Key: m.Key} // whatever the base says
	}
	absent := m.Op == Update && stored == nil && m.Base.Kind != NoBase // whatever the base says
	if !m.Base.met(stored, gone) && !absent || absent && m.Base.Fail {
		r := Result{Version: gone.version, Conflict: true}
		if stored != nil {
			if m.Base.Value > stored.Version {
				return Result{}, &FutureError{Key: m.Key}
			}
			r.Version, r.Created = stored.Version, stored.Created()
		}
		if m.Base.Fail {
			return Result{}, &ConflictError{Stored: r.Version, Wanted: m.Base.Value}
		}
		return r, nil
	}
	switch {
	case m.Op == Insert && current != nil:
		return Result{}, &ExistsError{Key: m.Key}
	case m.Op == Update && current == nil:
		return Result{}, &MissingError{Key: m.Key}
	case m.Op == Delete:
		return Result{Version: version}, nil
	case current != nil && current.same(m.Entity):
		return Result{Version: current.Version, Created: current.Created(), Unchanged: true}, nil
	}
	created := version
	if current != nil {
		created = current.Created()
	}
	m.Entity.seal(version, created)
	return Result{Version: version, Created: created}, nil
}

// same reports whether both say the same, though their properties may be
// encoded in another order.
func (e *Entity) same(o *Entity) bool {
	if len(e.wire) != len(o.wire) || e.rows != o.rows {
		return false
	}
	if bytes.Equal(e.Body(), o.Body()) {
		return true
	}
	a, b := e.ordered(), o.ordered()
	return a != nil && bytes.Equal(a, b)
}

func (e *Entity) ordered() []byte {
	m, err := e.Decode()
	if err != nil {
		return nil
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil
	}
	return body
}

// deletions remembers when entities were deleted, for the bases of mutations
// that expect them to be missing. It is bounded: what it has forgotten counts
// as deleted then.
type deletions struct {
	versions  map[string]int64
	forgotten int64
}

// deletion is when an entity was deleted, as far as that is known.
type deletion struct {
	version int64 // 0: unknown, or never
	latest  int64 // it was not deleted later
	now     int64 // version of the present state
}

const maxDeletions = 10_000

func (d *deletions) add(key string, version int64) {
	if d.versions == nil || len(d.versions) >= maxDeletions {
		if d.versions != nil {
			d.forgotten = version
		}
		d.versions = map[string]int64{}
	}
	d.versions[key] = version
}

func (d *deletions) of(key string, now int64) deletion {
	version := d.versions[key]
	return deletion{version: version, latest: max(version, d.forgotten), now: now}
}
