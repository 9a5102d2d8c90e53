package emulator

import (
	"cmp"
	"time"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/console"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/memcached"
)

// Stats is a look at all servers, one after the other.
type Stats struct {
	CloudTasks cloudtasks.Stats
	Datastore  datastore.Stats
	Memcached  memcached.Stats
}

// Stats looks at all servers.
func (s *Suite) Stats() Stats {
	return Stats{s.cloudTasks.Stats(), s.datastore.Stats(), s.memcached.Stats()}
}

// status puts the figures into the console's words.
func (s *Suite) status() console.Status {
	stats := s.Stats()
	m := stats.Memcached
	status := console.Status{
		Err:        s.Err(),
		Uptime:     time.Since(s.started),
		Data:       s.options.Dir,
		CloudTasks: console.CloudTasks{Addr: s.CloudTasksAddr(), InFlight: stats.CloudTasks.InFlight},
		Datastore: console.Datastore{
			Addr:         s.DatastoreAddr(),
			Concurrency:  cmp.Or(s.options.datastore(nil, nil).Concurrency, "pessimistic"),
			Transactions: stats.Datastore.OpenTransactions,
		},
		Memcached: console.Memcached{
			Addr: s.MemcachedAddr(), Items: m.Items, Bytes: m.Bytes, MaxBytes: m.MaxBytes, Conns: m.Conns, MaxConns: m.MaxConns,
			Hits: m.GetHits, Misses: m.GetMisses, Sets: m.Sets, Evictions: m.Evictions,
		},
	}
	for _, q := range stats.CloudTasks.Queues {
		status.CloudTasks.Queues = append(status.CloudTasks.Queues, console.Queue{
			Name: q.Name, State: q.State, Waiting: q.Waiting, Running: q.Running, OldestETA: q.OldestETA,
			ExecutedLastMinute: q.ExecutedLastMinute, Attempts: q.Attempts, LastFailure: console.Failure(q.LastFailure),
		})
	}
	for _, k := range stats.Datastore.Kinds {
		status.Datastore.Kinds = append(status.Datastore.Kinds, console.Kind{
			Project: k.Project, Database: k.Database, Namespace: k.Namespace, Name: k.Kind, Entities: k.Entities,
		})
	}
	return status
}
