package cli

import (
	"fmt"
	"time"

	"github.com/latchwork/latchwork/emulator"
)

// chaosFlags are what the emulators are to do wrong, and when they think it is.
// Both can be changed while they run: see docs/time-and-chaos.md.
type chaosFlags struct {
	ChaosDuplicate float64 `help:"Probability, 0 to 1, that a task is delivered twice." var:"LATCHWORK_CHAOS_DUPLICATE" placeholder:"P" group:"Time and chaos:"`
	ChaosReorder   float64 `help:"Probability that a delivery waits until a later one of its queue has overtaken it, for 5s at most." var:"LATCHWORK_CHAOS_REORDER" placeholder:"P" group:"Time and chaos:"`
	ChaosDelay     float64 `help:"Probability that a delivery starts late, by up to 10s." var:"LATCHWORK_CHAOS_DELAY" placeholder:"P" group:"Time and chaos:"`
	ChaosTimeout   float64 `help:"Probability that a delivery passes for one without an answer in time: it is cut off, or its answer is lost." var:"LATCHWORK_CHAOS_TIMEOUT" placeholder:"P" group:"Time and chaos:"`
	ChaosAbort     float64 `help:"Probability that a commit to Datastore is ABORTED." var:"LATCHWORK_CHAOS_ABORT" placeholder:"P" group:"Time and chaos:"`
	ChaosEvict     float64 `help:"Probability that a memcached entry is evicted when it is used." var:"LATCHWORK_CHAOS_EVICT" placeholder:"P" group:"Time and chaos:"`
	ChaosOutage    float64 `help:"Probability that a call to any of the three services fails (UNAVAILABLE, or the connection ends), half of the changes after they were carried out." var:"LATCHWORK_CHAOS_OUTAGE" placeholder:"P" group:"Time and chaos:"`
	Seed           uint64  `help:"Seed of the chaos: the same names and seed meet the same faults. 0 picks one and logs it." var:"LATCHWORK_SEED" group:"Time and chaos:"`

	ClockOffset time.Duration `help:"How far ahead of the machine's clock the emulators' clock starts, as in 24h." var:"LATCHWORK_CLOCK_OFFSET" group:"Time and chaos:"`
}

func (f *chaosFlags) validate() error {
	for _, p := range []struct {
		flag  string
		value float64
	}{
		{"duplicate", f.ChaosDuplicate}, {"reorder", f.ChaosReorder}, {"delay", f.ChaosDelay}, {"timeout", f.ChaosTimeout},
		{"abort", f.ChaosAbort}, {"evict", f.ChaosEvict}, {"outage", f.ChaosOutage},
	} {
		if !(p.value >= 0 && p.value <= 1) { // not a number is neither
			return usageError{fmt.Errorf("--chaos-%s=%v: a probability lies between 0 and 1", p.flag, p.value)}
		}
	}
	if f.ClockOffset < 0 {
		return usageError{fmt.Errorf("--clock-offset=%v: must not be negative, for the clock never goes back", f.ClockOffset)}
	}
	return nil
}

func (f *chaosFlags) settings() emulator.ChaosSettings {
	return emulator.ChaosSettings{
		Seed:      f.Seed,
		Duplicate: f.ChaosDuplicate, Reorder: f.ChaosReorder, Delay: f.ChaosDelay, Timeout: f.ChaosTimeout,
		Abort: f.ChaosAbort, Evict: f.ChaosEvict,
		CloudTasksOutage: f.ChaosOutage, DatastoreOutage: f.ChaosOutage, MemcachedOutage: f.ChaosOutage,
	}
}
