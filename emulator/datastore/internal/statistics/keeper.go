package statistics

import (
	"sync"
	"time"

	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// MaxAge is how long a set of statistics is served after the database has
// changed. Google recommends to ask for the newest timestamp first and then to
// filter by it, for which a set must last a while.
const MaxAge = 5 * time.Second

// Keeper holds the statistics of one database.
type Keeper struct {
	mu      sync.Mutex
	known   bool
	set     storage.View
	version int64     // of the state that the set speaks of
	until   time.Time // when it is too old
}

// View returns a state whose entities are the statistics of all namespaces of
// the database. It goes through all entities if the set it has is too old; who
// comes meanwhile waits for that.
func (k *Keeper) View(db *storage.DB) (storage.View, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.known && now.Before(k.until) {
		return k.set, nil
	}
	state := db.Snapshot()
	if k.known && state.Version == k.version {
		k.until = now.Add(MaxAge)
		return k.set, nil
	}
	c, err := collect(state)
	if err != nil {
		return storage.View{}, err
	}
	set, err := storage.Synthetic(c.build(db.ID.Project, db.ID.Database, time.UnixMicro(state.Time)), state.Version)
	if err != nil {
		return storage.View{}, err
	}
	k.set, k.version, k.until = set, state.Version, now.Add(MaxAge)
	k.known = len(c.kinds) > 0 // that there is nothing is found out at once
	return set, nil
}

// Forget drops what is known.
func (k *Keeper) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.set = false, storage.View{}
}
