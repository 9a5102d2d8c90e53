package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A record is a tag, the database, and then numbers (uvarint) and byte strings
// (length and bytes). Entities and keys are in Datastore's own wire form, so
// that the rows may change their format without touching data folders.
const (
	recordCommit   = 1 // version, then operations
	recordIDs      = 2 // how far the counter may have got
	recordReserved = 3 // counters
	recordState    = 4 // checkpoint: version, counter; reserved and entities follow
	recordEntities = 5 // checkpoint: version, created, entity, repeated
	recordReset    = 6 // version: all entities are gone

	opPut    = 1 // created, entity
	opDelete = 2 // key
)

func appendHeader(dst []byte, tag byte, id ID) []byte {
	dst = append(dst, tag)
	dst = appendBytes(dst, id.Project)
	return appendBytes(dst, id.Database)
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendCommit(dst []byte, id ID, version int64, mutations []Mutation, results []Result) []byte {
	dst = appendHeader(dst, recordCommit, id)
	dst = binary.AppendUvarint(dst, uint64(version))
	for i := range mutations {
		m := &mutations[i]
		switch {
		case !results[i].applied():
		case m.Entity == nil:
			dst = append(dst, opDelete)
			dst = appendBytes(dst, m.KeyWire)
		default:
			dst = append(dst, opPut)
			dst = binary.AppendUvarint(dst, uint64(results[i].Created))
			dst = appendBytes(dst, m.Entity.Body())
		}
	}
	return dst
}

func appendIDs(dst []byte, id ID, kept uint64) []byte {
	return binary.AppendUvarint(appendHeader(dst, recordIDs, id), kept)
}

func appendReserved(dst []byte, id ID, reserved []uint64) []byte {
	dst = appendHeader(dst, recordReserved, id)
	for _, n := range reserved {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func appendState(dst []byte, id ID, version int64, kept uint64) []byte {
	dst = appendHeader(dst, recordState, id)
	dst = binary.AppendUvarint(dst, uint64(version))
	return binary.AppendUvarint(dst, kept)
}

func appendReset(dst []byte, id ID, version int64) []byte {
	return binary.AppendUvarint(appendHeader(dst, recordReset, id), uint64(version))
}

func appendEntity(dst []byte, e *Entity) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.Version))
	dst = binary.AppendUvarint(dst, uint64(e.Created()))
	return appendBytes(dst, e.Body())
}

// replay takes one record of the journal.
func (l *loader) replay(record []byte) error {
	r := reader{b: record}
	tag := r.byte()
	id := ID{Project: string(r.bytes()), Database: string(r.bytes())}
	if r.err != nil {
		return fmt.Errorf("datastore record: %w", r.err)
	}
	db := l.store.DB(id)
	switch tag {
	case recordCommit:
		version := int64(r.uvarint())
		l.add(db, version, true, r.b)
		db.version = max(db.version, version)
	case recordIDs:
		db.keepIDs(r.uvarint())
	case recordReserved:
		for r.more() {
			if n := r.uvarint(); n > db.ids {
				db.reserved[n] = struct{}{}
			}
		}
	case recordState:
		db.version = max(db.version, int64(r.uvarint()))
		db.gone.forgotten = db.version
		db.history.forget(db.version)
		db.keepIDs(r.uvarint())
	case recordReset:
		l.forget(db)
		db.version = max(db.version, int64(r.uvarint()))
		db.gone.forgotten = db.version
		db.history.forget(db.version)
	case recordEntities:
		l.add(db, 0, false, r.b)
	default:
		return fmt.Errorf("datastore record: unknown tag %d", tag)
	}
	if r.err != nil {
		return fmt.Errorf("datastore record of %s/%s: %w", id.Project, id.Database, r.err)
	}
	return nil
}

// keepIDs continues after the identifiers that may have been handed out.
func (db *DB) keepIDs(kept uint64) {
	db.ids = max(db.ids, kept)
	db.idsKept = db.ids
	for n := range db.reserved {
		if n <= db.ids {
			delete(db.reserved, n)
		}
	}
}

var errShort = errors.New("ends too early")

// reader takes a record apart; after the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) more() bool { return r.err == nil && len(r.b) > 0 }

func (r *reader) byte() byte {
	if !r.more() {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}
