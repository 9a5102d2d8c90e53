package transactions

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// Tx is one transaction, or, while it commits, a commit without one. Its
// fields are guarded by its Manager's mutex.
type Tx struct {
	id, age  uint64 // age is the id of its first attempt; smaller is older
	database uint32 // which numbers it
	readOnly bool
	state    state

	begun, used time.Time
	running     int // requests; a transaction with any is not idle
	timer       *time.Timer

	// Pessimistic mode.
	keys    []string
	ranges  []Range
	waiting []*request // its own requests that stand in line
	behind  []*request // requests of others that wait for its locks

	// Read-only transactions, and all in optimistic mode.
	snapshot *storage.View
	read     Footprint
}

type state uint8

const (
	open state = iota
	aborted
	closed
)

// A transaction's identifier on the wire: a tag, its number, its age and its
// database, all little-endian. The age travels along so that a retry can inherit
// it from a transaction that the server has forgotten, the database because
// others have the same numbers.
const (
	idTag   = 0x11
	idBytes = 1 + 8 + 8 + 4
)

// ID is the identifier that clients get.
func (tx *Tx) ID() []byte {
	id := make([]byte, 1, idBytes)
	id[0] = idTag
	id = binary.LittleEndian.AppendUint64(id, tx.id)
	id = binary.LittleEndian.AppendUint64(id, tx.age)
	return binary.LittleEndian.AppendUint32(id, tx.database)
}

// digest is what identifiers have of a database's name.
func digest(id storage.ID) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, id.Project+"/"+id.Database) // a hash takes everything
	return h.Sum32()
}

// ReadOnly reports whether the transaction may only read.
func (tx *Tx) ReadOnly() bool { return tx.readOnly }

// parseID reads the identifier of a transaction that the database has begun.
func (m *Manager) parseID(id []byte) (number, age uint64, err error) {
	if len(id) != idBytes || id[0] != idTag {
		return 0, 0, ErrInvalid
	}
	number = binary.LittleEndian.Uint64(id[1:])
	age = binary.LittleEndian.Uint64(id[9:])
	if age > number || number > m.last || binary.LittleEndian.Uint32(id[17:]) != m.database {
		return 0, 0, ErrInvalid
	}
	return number, age, nil
}

func (tx *Tx) holdsNothing() bool { return len(tx.keys) == 0 && len(tx.ranges) == 0 }
