package protocol

import (
	"sync"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/statistics"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
)

// keepers are the statistics of all databases.
type keepers struct {
	mu sync.Mutex
	by map[storage.ID]*statistics.Keeper
}

func (k *keepers) of(id storage.ID) *statistics.Keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil {
		k.by = map[storage.ID]*statistics.Keeper{}
	}
	if k.by[id] == nil {
		k.by[id] = new(statistics.Keeper)
	}
	return k.by[id]
}

// statisticsOverlay is the overlay for the statistics kinds. They are computed
// before the query's read begins, not within it: transactions and past reads
// see the latest, as in production, where they lag by hours.
func (d database) statisticsOverlay() (overlay, error) {
	set, err := d.statistics.of(d.ID).View(d.DB)
	if err != nil {
		return nil, err
	}
	return func(v storage.View) (storage.View, []transactions.Range, error) {
		set.Version, set.Time = v.Version, v.Time
		return set, nil, nil
	}, nil
}

// statisticsOf returns the statistics that some of the keys name, as far as
// there are such, by their entity rows.
func (d database) statisticsOf(keys []*pb.Key) (map[string]*storage.Entity, error) {
	var found map[string]*storage.Entity
	for _, k := range keys {
		if path := k.GetPath(); len(path) != 1 || !statistics.IsKind(path[0].GetKind()) {
			continue
		}
		set, err := d.statistics.of(d.ID).View(d.DB)
		if err != nil {
			return nil, err
		}
		row := encoding.EntityRow(k)
		if e := set.Get(row); e != nil {
			if found == nil {
				found = map[string]*storage.Entity{}
			}
			found[row] = e
		}
	}
	return found, nil
}
