package chaos

import "fmt"

// Settings say what goes wrong, and how often: each field but Seed is a
// probability from 0 (never) to 1 (always). The zero value injects nothing.
type Settings struct {
	// Seed chooses what is struck. 0 keeps the seed that there is, which at the
	// start is a random one that is logged.
	Seed uint64 `json:"seed"`

	// Cloud Tasks, of each attempt: that it is delivered a second time, at once
	// or within 250 ms; that it waits until a later delivery of its queue has
	// overtaken it, for 5 s at most; that it starts up to 10 s late; that it
	// counts as having passed its deadline, with its request cut off within
	// 100 ms, or its answer lost. And of each call of the API: see Datastore.
	Duplicate        float64 `json:"duplicate"`
	Reorder          float64 `json:"reorder"`
	Delay            float64 `json:"delay"`
	Timeout          float64 `json:"timeout"`
	CloudTasksOutage float64 `json:"cloudTasksOutage"`

	// Datastore, of each commit: that it is refused with ABORTED, as after
	// contention, and its transaction is over. Of each call: that it is refused
	// with UNAVAILABLE. Half of the calls so struck that change something are
	// carried out first: their answer alone is lost.
	Abort           float64 `json:"abort"`
	DatastoreOutage float64 `json:"datastoreOutage"`

	// memcached, of each command: that the entry it names is evicted before it;
	// that the connection ends, before the command or in place of its answer.
	Evict           float64 `json:"evict"`
	MemcachedOutage float64 `json:"memcachedOutage"`
}

// A Fault is a kind of thing that goes wrong.
type Fault int

// The faults, as the fields of Settings describe them.
const (
	Duplicate Fault = iota
	Reorder
	Delay
	Timeout
	CloudTasksOutage
	Abort
	DatastoreOutage
	Evict
	MemcachedOutage
	faults // how many there are
)

// String returns the name of the field of Settings in JSON.
func (f Fault) String() string {
	return [faults]string{"duplicate", "reorder", "delay", "timeout", "cloudTasksOutage", "abort", "datastoreOutage", "evict", "memcachedOutage"}[f]
}

func (s *Settings) share(f Fault) float64 {
	return [faults]float64{
		s.Duplicate, s.Reorder, s.Delay, s.Timeout, s.CloudTasksOutage, s.Abort, s.DatastoreOutage, s.Evict, s.MemcachedOutage,
	}[f]
}

// Check returns the first probability that is none.
func (s *Settings) Check() error {
	for f := range faults {
		if p := s.share(f); !(p >= 0 && p <= 1) { // not a number is neither
			return fmt.Errorf("chaos: %v is %v: a probability lies between 0 and 1", f, p)
		}
	}
	return nil
}

func (s *Settings) any() bool {
	for f := range faults {
		if s.share(f) > 0 {
			return true
		}
	}
	return false
}
