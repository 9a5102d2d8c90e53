package storage

import "fmt"

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

	// Merged says that Entity was computed from MergedWith (nil: none stored):
	// unless that is still the stored one, the commit fails with ErrChanged and
	// should be prepared again.
	Merged     bool
	MergedWith *Entity
}

// Base is a mutation's condition on the stored entity; the zero value has none.
// A missing entity has the version of the state in which it was looked up, as
// lookups report it, or 0: it meets such a base unless it was there since.
type Base struct {
	Kind  BaseKind
	Value int64 // a version, or an update time in µs
	Fail  bool  // a conflict fails the commit instead of skipping the mutation
}

// BaseKind says what Base.Value is compared with.
type BaseKind uint8

// Versions and update times are the same number here, but the errors differ.
const (
	NoBase BaseKind = iota
	BaseVersion
	BaseUpdateTime
)

// Result is the outcome of one mutation.
type Result struct {
	Version  int64 // of the entity after the commit, or of the stored one on a conflict
	Created  int64 // 0 after a deletion
	Conflict bool  // the mutation was not applied
}

// ExistsError says that an inserted entity exists already.
type ExistsError struct{ Key string }

func (e *ExistsError) Error() string { return "entity already exists" }

// MissingError says that an updated entity doesn't exist.
type MissingError struct{ Key string }

func (e *MissingError) Error() string { return "no entity to update" }

// ConflictError says that a base was not met and the mutation asked to fail.
type ConflictError struct {
	Kind           BaseKind
	Stored, Wanted int64
}

func (e *ConflictError) Error() string {
	if e.Kind == BaseUpdateTime {
		return fmt.Sprintf("the stored update time (%d µs) does not match the required base update time (%d µs)", e.Stored, e.Wanted)
	}
	return fmt.Sprintf("the stored version (%d) does not match the required base version (%d)", e.Stored, e.Wanted)
}

// ErrChanged says that a Merged mutation was computed from an entity that has
// been changed meanwhile.
var ErrChanged = fmt.Errorf("the entity changed while the mutation was prepared")

// decide checks m against the current entity (nil: none, deleted at the version
// gone if ever) and seals its entity. touched: an earlier mutation of the same
// commit left it.
func (m *Mutation) decide(current *Entity, gone int64, touched bool, version int64) (Result, error) {
	if m.Merged && current != m.MergedWith {
		return Result{}, ErrChanged
	}
	if m.Base.Kind != NoBase && !touched {
		stored := gone
		met := m.Base.Kind == BaseVersion && (m.Base.Value == 0 || m.Base.Value >= gone)
		if current != nil {
			stored = current.Version
			met = stored == m.Base.Value
		}
		if !met {
			if m.Base.Fail {
				return Result{}, &ConflictError{Kind: m.Base.Kind, Stored: stored, Wanted: m.Base.Value}
			}
			r := Result{Version: stored, Conflict: true}
			if current != nil {
				r.Created = current.Created
			}
			return r, nil
		}
	}
	switch {
	case m.Op == Insert && current != nil:
		return Result{}, &ExistsError{Key: m.Key}
	case m.Op == Update && current == nil:
		return Result{}, &MissingError{Key: m.Key}
	case m.Op == Delete:
		return Result{Version: version}, nil
	}
	created := version
	if current != nil {
		created = current.Created
	}
	m.Entity.seal(version, created)
	return Result{Version: version, Created: created}, nil
}

// deletions remembers when entities were deleted, for the bases of mutations
// that expect them to be missing. It is bounded: what it has forgotten counts
// as deleted then.
type deletions struct {
	versions  map[string]int64
	forgotten int64
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

func (d *deletions) of(key string) int64 { return max(d.versions[key], d.forgotten) }
