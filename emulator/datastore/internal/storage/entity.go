package storage

import (
	"encoding/binary"
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
// so a pointer to it also identifies the version. There may be millions.
type Entity struct {
	rows encoding.Rows
	wire []byte // the Entity message, then the time of its creation

	Version int64 // µs; also the time of its last update
}

const createdBytes = 8

// NewEntity prepares e, whose key must be complete and validated, for a
// commit. All encoding happens here, outside every lock.
func NewEntity(e *pb.Entity) (*Entity, error) { return new(Maker).Make(e) }

// Maker is what making entities takes beside what they keep. It is for one
// goroutine; the zero value is ready.
type Maker struct {
	wire encoding.Wire
	rows encoding.RowMaker
}

// Make is NewEntity.
func (m *Maker) Make(e *pb.Entity) (*Entity, error) {
	// One order for what says the same: a rewrite that changes nothing is found
	// out by comparing bytes.
	m.wire.Measure(e)
	if m.wire.Size() > MaxEntityBytes {
		return nil, errTooLarge
	}
	body, err := m.wire.Append(make([]byte, 0, m.wire.Size()+createdBytes))
	if err != nil {
		return nil, err
	}
	out := newEntity(body)
	out.rows, err = m.rows.Of(e)
	return out, err
}

// newEntity is an entity without rows. The body becomes the entity's own.
func newEntity(body []byte) *Entity {
	return &Entity{wire: append(body, make([]byte, createdBytes)...)}
}

// seal stamps a prepared entity with its version and creation time.
func (e *Entity) seal(version, created int64) {
	e.Version = version
	binary.LittleEndian.PutUint64(e.wire[len(e.wire)-createdBytes:], uint64(created))
}

// Created is when the entity was created, in µs.
func (e *Entity) Created() int64 {
	return int64(binary.LittleEndian.Uint64(e.wire[len(e.wire)-createdBytes:]))
}

// Key is the entity row, which identifies the entity in its database.
func (e *Entity) Key() string { return e.rows.Row(0) }

// Path is what all rows of the entity end with.
func (e *Entity) Path() string { return e.rows.Path() }

// Rows are all index rows, the entity row first.
func (e *Entity) Rows() encoding.Rows { return e.rows }

// Repeats reports whether a property of the entity has several index entries.
func (e *Entity) Repeats() bool { return e.rows.Repeats() }

// Body is the wire form of the Entity message. The caller must not change it.
func (e *Entity) Body() []byte { return e.wire[:len(e.wire)-createdBytes] }

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

// AppendTimes appends what follows the entity in the wire form of an
// EntityResult: its version, and the times of its last update and its creation.
func (e *Entity) AppendTimes(dst []byte) []byte {
	dst = protowire.AppendTag(dst, 4, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(e.Version))
	dst = appendTime(dst, 5, e.Version)
	return appendTime(dst, 6, e.Created())
}

// TimesSize is the length of what AppendTimes appends.
func (e *Entity) TimesSize() int {
	return 1 + protowire.SizeVarint(uint64(e.Version)) + 1 + protowire.SizeBytes(timeSize(e.Version)) + 1 + protowire.SizeBytes(timeSize(e.Created()))
}

// appendTime appends a google.protobuf.Timestamp field.
func appendTime(dst []byte, field protowire.Number, micros int64) []byte {
	seconds, nanos := timeParts(micros)
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(timeSize(micros)))
	dst = protowire.AppendTag(dst, 1, protowire.VarintType)
	dst = protowire.AppendVarint(dst, seconds)
	dst = protowire.AppendTag(dst, 2, protowire.VarintType)
	return protowire.AppendVarint(dst, nanos)
}

func timeSize(micros int64) int {
	seconds, nanos := timeParts(micros)
	return 2 + protowire.SizeVarint(seconds) + protowire.SizeVarint(nanos)
}

func timeParts(micros int64) (seconds, nanos uint64) {
	whole, rest := micros/1e6, micros%1e6
	if rest < 0 {
		whole, rest = whole-1, rest+1e6
	}
	return uint64(whole), uint64(rest) * 1e3
}
