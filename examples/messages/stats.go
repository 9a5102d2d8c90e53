package messages

import "sync/atomic"

// Stats count what this process has done with shards, from its start on.
type Stats struct {
	Runs       int64 // of a shard, inside its lock
	EarlyExits int64 // tasks whose work a round had done before
	Rounds     int64
	Mutations  int64 // runs of a mutation, repetitions included
	Failures   int64 // of these, the ones that returned an error
	Commits    int64 // transactions committed
	Conflicts  int64 // transactions aborted by another
}

type counters struct {
	runs, earlyExits, rounds, mutations, failures, commits, conflicts atomic.Int64
}

// Stats returns the counts so far.
func (a *App) Stats() Stats {
	c := &a.stats
	return Stats{
		Runs: c.runs.Load(), EarlyExits: c.earlyExits.Load(), Rounds: c.rounds.Load(),
		Mutations: c.mutations.Load(), Failures: c.failures.Load(),
		Commits: c.commits.Load(), Conflicts: c.conflicts.Load(),
	}
}
