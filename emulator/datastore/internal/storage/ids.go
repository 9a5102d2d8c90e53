package storage

import (
	"math/bits"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/internal/journal"
)

// Automatic identifiers are scattered over [2^52, 2^53), as production's are:
// sixteen digits, exact in a JavaScript number. The n-th is n with its bits
// reversed, so no identifier comes twice.
const idBits = 52

func scatter(n uint64) int64 {
	return int64(1<<idBits | bits.Reverse64(n)>>(64-idBits))
}

// unscatter is the inverse; ok is false for identifiers that scatter never makes.
func unscatter(id int64) (n uint64, ok bool) {
	if id>>idBits != 1 {
		return 0, false
	}
	return bits.Reverse64(uint64(id)&(1<<idBits-1)) >> (64 - idBits), true
}

// idBlock is how many identifiers one journal record covers; a crash skips the
// rest of a block.
const idBlock = 1024

// AllocateIDs completes the keys in place with identifiers that were never
// handed out, reserved or used in their kind.
func (db *DB) AllocateIDs(keys []*pb.Key) error {
	synced, err := db.allocateIDs(keys)
	if err != nil {
		return err
	}
	return synced.Wait()
}

// allocateIDs is AllocateIDs but for the wait. The record to wait for may be one
// that an earlier call has written for the whole block.
func (db *DB) allocateIDs(keys []*pb.Key) (journal.Synced, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	view := View{tables: db.tables}
	for _, k := range keys {
		last := k.Path[len(k.Path)-1]
		for {
			n := db.ids + 1
			if n > db.idsKept {
				synced, err := db.store.journal.Append(appendIDs(nil, db.ID, n+idBlock))
				if err != nil {
					return synced, err
				}
				db.idsKept, db.idsSynced = n+idBlock, synced
			}
			db.ids = n
			if _, taken := db.reserved[n]; taken {
				delete(db.reserved, n)
				continue
			}
			last.IdType = &pb.Key_PathElement_Id{Id: scatter(n)}
			if view.Get(encoding.EntityRow(k)) == nil {
				break
			}
		}
	}
	return db.idsSynced, nil
}

// ReserveIDs makes sure that AllocateIDs never hands out the identifiers.
func (db *DB) ReserveIDs(ids []int64) error {
	synced, err := db.reserveIDs(ids)
	if err != nil {
		return err
	}
	return synced.Wait()
}

func (db *DB) reserveIDs(ids []int64) (journal.Synced, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var reserved []uint64
	for _, id := range ids {
		if n, ok := unscatter(id); ok && n > db.ids {
			reserved = append(reserved, n)
		}
	}
	if len(reserved) == 0 {
		return db.idsSynced, nil // what was handed out needs no more
	}
	synced, err := db.store.journal.Append(appendReserved(nil, db.ID, reserved))
	if err != nil {
		return synced, err
	}
	for _, n := range reserved {
		db.reserved[n] = struct{}{}
	}
	return synced, nil
}
