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
	rows encoding.Rows
	wire []byte // EntityResult: the entity, then (once committed) version and times
	size uint32 // of the entity itself in wire

	repeats bool // a property has several rows

	Version int64 // µs
	Created int64 // µs
}

// NewEntity prepares e, whose key must be complete and validated, for a
// commit. All encoding happens here, outside every lock.
func NewEntity(e *pb.Entity) (*Entity, error) {
	// One order for what says the same: a rewrite that changes nothing is found
	// out by comparing bytes.
	w := encoding.NewWire(e)
	if w.Size() > MaxEntityBytes {
		return nil, errTooLarge
	}
	out, err := layOut(w.Size(), w.Append)
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
	wire, err := appendBody(wire)
	return &Entity{wire: wire, size: uint32(size)}, err
}

// index derives the rows of an entity that says what m says.
func (e *Entity) index(m *pb.Entity) (err error) {
	e.rows, err = encoding.RowsOf(m)
	e.repeats = hasRepeats(e.rows)
	return err
}

// seal stamps a prepared entity with its version and creation time.
func (e *Entity) seal(version, created int64) {
	e.Version, e.Created = version, created
	e.wire = e.wire[:e.bodyEnd()]
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
func (e *Entity) Key() string { return e.rows.Row(0) }

// Path is what all rows of the entity end with.
func (e *Entity) Path() string { return e.rows.Path() }

// Rows are all index rows, the entity row first.
func (e *Entity) Rows() encoding.Rows { return e.rows }

func hasRepeats(rows encoding.Rows) bool {
	for range rows.Repeated() {
		return true
	}
	return false
}

// Repeats reports whether a property of the entity has several index entries.
func (e *Entity) Repeats() bool { return e.repeats }

// Result is the wire form of the EntityResult message without a cursor. The
// caller must not change it.
func (e *Entity) Result() []byte { return e.wire }

// Body is the wire form of the Entity message alone. The caller must not
// change it.
func (e *Entity) Body() []byte { return e.wire[e.bodyEnd()-int(e.size) : e.bodyEnd()] }

func (e *Entity) bodyEnd() int { return 1 + protowire.SizeBytes(int(e.size)) }

// Decode returns a fresh copy of the entity.
func (e *Entity) Decode() (*pb.Entity, error) {
	m := new(pb.Entity)
	return m, proto.Unmarshal(e.Body(), m)
}

// Has reports whether the entity has the property row with this head.
func (e *Entity) Has(head string) bool {
	i := e.rows.Find(head)
	return i < e.rows.Len() && e.rows.Head(i) == head
}

// HeadsBetween yields the heads of property rows in [lo, hi); hi "" has no bound.
func (e *Entity) HeadsBetween(lo, hi string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := e.rows.Find(lo); i < e.rows.Len(); i++ {
			head := e.rows.Head(i)
			if hi != "" && head >= hi || !yield(head) {
				return
			}
		}
	}
}

// First returns the smallest head of a property row in [lo, hi), Last the greatest.
func (e *Entity) First(lo, hi string) (string, bool) {
	i := e.rows.Find(lo)
	if i == e.rows.Len() {
		return "", false
	}
	head := e.rows.Head(i)
	return head, hi == "" || head < hi
}

// Last returns the greatest head of a property row in [lo, hi).
func (e *Entity) Last(lo, hi string) (string, bool) {
	i := e.rows.Len()
	if hi != "" {
		i = e.rows.Find(hi)
	}
	if i == encoding.FirstProperty {
		return "", false
	}
	head := e.rows.Head(i - 1)
	return head, head >= lo
}

// TimesLen is the length of what follows the entity in Result: its version and
// times.
func (e *Entity) TimesLen() int { return len(e.wire) - e.bodyEnd() }
