package storage

import (
	"errors"
	"iter"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// MaxEntityBytes bounds an entity's wire form.
const MaxEntityBytes = 1<<20 - 4

var errTooLarge = errors.New("maximum entity size is 1048576 bytes")

// Entity is one stored version of an entity. It never changes once committed,
// so a pointer to it also identifies the version.
type Entity struct {
	rows []string // as encoding.Rows returns them
	wire []byte   // EntityResult: the entity, then (once committed) version and times
	body int      // where the entity itself starts in wire
	size int      // and its length

	repeats bool // a property has several rows

	Version int64 // µs
	Created int64 // µs
}

// NewEntity prepares e, whose key must be complete and validated, for a
// commit. All encoding happens here, outside every lock.
func NewEntity(e *pb.Entity) (*Entity, error) {
	size := proto.Size(e)
	if size > MaxEntityBytes {
		return nil, errTooLarge
	}
	out, err := layOut(size, func(dst []byte) ([]byte, error) {
		// One order for what says the same: a rewrite that changes nothing is
		// found out by comparing bytes.
		return proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(dst, e)
	})
	if err == nil {
		err = out.index(e)
	}
	return out, err
}

// layOut makes an entity without rows; its body, size bytes long, is appended
// by the function.
func layOut(size int, appendBody func([]byte) ([]byte, error)) (*Entity, error) {
	const times = 1 + 8 + 2*(2+1+5+1+5) // for a thousand years; then append makes room
	wire := make([]byte, 0, 1+protowire.SizeBytes(size)+times)
	wire = protowire.AppendTag(wire, 1, protowire.BytesType)
	wire = protowire.AppendVarint(wire, uint64(size))
	body := len(wire)
	wire, err := appendBody(wire)
	return &Entity{wire: wire, body: body, size: len(wire) - body}, err
}

// index derives the rows of an entity that says what m says.
func (e *Entity) index(m *pb.Entity) (err error) {
	e.rows, err = encoding.Rows(m)
	e.repeats = hasRepeats(e.rows)
	return err
}

// seal stamps a prepared entity with its version and creation time.
func (e *Entity) seal(version, created int64) {
	e.Version, e.Created = version, created
	e.wire = e.wire[:e.body+e.size]
	e.wire = protowire.AppendTag(e.wire, 4, protowire.VarintType)
	e.wire = protowire.AppendVarint(e.wire, uint64(version))
	e.wire = appendTime(e.wire, 5, version)
	e.wire = appendTime(e.wire, 6, created)
}

// appendTime appends a google.protobuf.Timestamp field.
func appendTime(dst []byte, field protowire.Number, micros int64) []byte {
	seconds, rest := micros/1e6, micros%1e6
	if rest < 0 {
		seconds, rest = seconds-1, rest+1e6
	}
	nanos := uint64(rest) * 1e3
	n := protowire.SizeVarint(uint64(seconds)) + protowire.SizeVarint(nanos) + 2
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(n))
	dst = protowire.AppendTag(dst, 1, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(seconds))
	dst = protowire.AppendTag(dst, 2, protowire.VarintType)
	return protowire.AppendVarint(dst, nanos)
}

// Key is the entity row, which identifies the entity in its database.
func (e *Entity) Key() string { return e.rows[0] }

// Rows are all index rows, the entity row first.
func (e *Entity) Rows() []string { return e.rows }

func hasRepeats(rows []string) bool {
	for range encoding.Repeated(rows) {
		return true
	}
	return false
}

// repeated yields what the rows of a property start with, for each property of
// which the entity has several.
func (e *Entity) repeated() iter.Seq[string] { return encoding.Repeated(e.rows) }

// Repeats reports whether a property of the entity has several index entries.
func (e *Entity) Repeats() bool { return e.repeats }

// Result is the wire form of the EntityResult message without a cursor. The
// caller must not change it.
func (e *Entity) Result() []byte { return e.wire }

// Body is the wire form of the Entity message alone. The caller must not
// change it.
func (e *Entity) Body() []byte { return e.wire[e.body : e.body+e.size] }

// Decode returns a fresh copy of the entity.
func (e *Entity) Decode() (*pb.Entity, error) {
	m := new(pb.Entity)
	return m, proto.Unmarshal(e.Body(), m)
}

// Has reports whether the entity has the property row prefix+path. It doesn't
// put them together: filters ask this for every row that they go through.
func (e *Entity) Has(prefix, path string) bool {
	lo, hi := 2, len(e.rows)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		row := e.rows[mid]
		n := min(len(row), len(prefix))
		if row[:n] < prefix || row[:n] == prefix && row[n:] < path {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(e.rows) {
		return false
	}
	row := e.rows[lo]
	return len(row) == len(prefix)+len(path) && row[:len(prefix)] == prefix && row[len(prefix):] == path
}

// from is the index of the first property row that is not smaller than at.
func (e *Entity) from(at string) int {
	lo, hi := 2, len(e.rows)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if e.rows[mid] < at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// RowsBetween yields the property rows in [lo, hi); hi "" has no bound.
func (e *Entity) RowsBetween(lo, hi string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, row := range e.rows[e.from(lo):] {
			if hi != "" && row >= hi || !yield(row) {
				return
			}
		}
	}
}

// First returns the smallest property row in [lo, hi), Last the greatest.
func (e *Entity) First(lo, hi string) (string, bool) {
	i := e.from(lo)
	if i == len(e.rows) || hi != "" && e.rows[i] >= hi {
		return "", false
	}
	return e.rows[i], true
}

// Last returns the greatest property row in [lo, hi).
func (e *Entity) Last(lo, hi string) (string, bool) {
	i := len(e.rows)
	if hi != "" {
		i = e.from(hi)
	}
	if i > 2 && e.rows[i-1] >= lo {
		return e.rows[i-1], true
	}
	return "", false
}

// TimesLen is the length of what follows the entity in Result: its version and
// times.
func (e *Entity) TimesLen() int { return len(e.wire) - e.body - e.size }
