package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/datastore"
	"github.com/latchwork/latchwork/memlock"
	"github.com/latchwork/latchwork/tasks"
	"google.golang.org/api/iterator"
)

// sweepSlot spaces the sweeps of one shard.
const sweepSlot = 10 * time.Second

// ledgerParts is in how many sweeps ImitateTTL looks at the whole ledger.
const ledgerParts = 16

// SweepReport counts what one sweep did.
type SweepReport struct {
	tasks.SweepReport
	Expired int // ledger rows deleted in place of a TTL policy
}

// sweepShard is the payload of the sweeper's own tasks.
type sweepShard struct {
	Shard  int `json:"shard"`
	Shards int `json:"shards"`
}

func (p sweepShard) lockKey() string { return fmt.Sprintf("latchwork-sweep/%d.%d", p.Shard, p.Shards) }

func sweepClass(queue string) tasks.Class[sweepShard] {
	return tasks.NewClass("latchwork-sweep", &tasks.ClassOptions[sweepShard]{
		Queue: queue, Timeout: 5 * time.Minute, MaxAge: time.Hour,
		LockKey: sweepShard.lockKey, Busy: tasks.BusyCoalesce, Slot: sweepSlot,
	})
}

// serveSweep answers the cron job: it looks which shards of the outbox have
// stragglers, and enqueues a task for each, which de-duplicates by its slot.
func (s *Server) serveSweep(w http.ResponseWriter, r *http.Request) {
	outcome, err := s.admit(w, r, func(ctx context.Context) (Outcome, error) {
		bodyDone(w) // there is none to read
		return s.startSweep(ctx)
	})
	if err != nil {
		s.log.WarnContext(r.Context(), "sweep", "outcome", outcome, "error", err)
	}
	answer(w, outcome)
}

func (s *Server) startSweep(ctx context.Context) (Outcome, error) {
	shards, err := s.client.OutboxShards(ctx, s.o.SweepShards)
	if err != nil {
		return OutcomeUnavailable, err
	}
	var errs []error
	for _, i := range shards {
		_, err := s.sweep.Enqueue(ctx, s.client, sweepShard{i, s.o.SweepShards}, nil)
		errs = append(errs, err)
	}
	_, err = s.expireLedger(ctx)
	if err := errors.Join(append(errs, err)...); err != nil {
		return OutcomeUnavailable, err
	}
	return OutcomeCommitted, nil
}

// sweepTask is the handler of a shard's task.
func (s *Server) sweepTask(ctx context.Context, p sweepShard) error {
	if p.Shards < 1 || p.Shards > 256 || p.Shard < 0 || p.Shard >= p.Shards {
		return tasks.Dead(fmt.Errorf("handlers: no such shard: %d of %d", p.Shard, p.Shards))
	}
	_, err := s.client.SweepOutbox(ctx, p.Shard, p.Shards)
	return err
}

// Sweep does the whole of a sweep in this process: every shard of the outbox,
// and with ImitateTTL a sixteenth of the ledger. Shards that another process is
// sweeping are left to it.
func (s *Server) Sweep(ctx context.Context) (SweepReport, error) {
	if !s.enter() {
		return SweepReport{}, ErrShutdown
	}
	defer s.leave()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(ErrShutdown) })()

	var (
		report SweepReport
		mu     sync.Mutex
		errs   []error
	)
	shards, err := s.client.OutboxShards(ctx, s.o.SweepShards)
	errs = append(errs, err)
	for _, i := range shards {
		p := sweepShard{i, s.o.SweepShards}
		f := func(ctx context.Context) error {
			one, err := s.client.SweepOutbox(ctx, p.Shard, p.Shards)
			mu.Lock()
			defer mu.Unlock()
			report.Pending += one.Pending
			report.Submitted += one.Submitted
			report.Refused += one.Refused
			return err
		}
		err := s.locker.TryWithLock(ctx, s.client.Namespace()+"/"+p.lockKey(), "sweep", f)
		switch {
		case errors.Is(err, memlock.ErrUnavailable):
			errs = append(errs, f(ctx)) // to submit twice is harmless
		case !errors.Is(err, memlock.ErrFailedToLock):
			errs = append(errs, err)
		}
	}
	report.Expired, err = s.expireLedger(ctx)
	return report, errors.Join(append(errs, err)...)
}

// RunSweeper sweeps every interval (0 is a minute) until ctx ends: where a
// process has CPU between requests, and no cron calls SweepPath.
func (s *Server) RunSweeper(ctx context.Context, interval time.Duration) {
	if interval <= 0 {
		interval = time.Minute
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "sweep", "error", err)
		}
	}
}

// expireLedger imitates a TTL policy: of one part of the ledger, the next one
// each minute, it deletes the rows whose time is over.
func (s *Server) expireLedger(ctx context.Context) (int, error) {
	if !s.o.ImitateTTL {
		return 0, nil
	}
	const batch = 300
	now := time.Now()
	part := int(now.Unix()/60) % ledgerParts
	it := s.client.Datastore().Run(ctx, s.client.ShardQuery(LedgerKind, part, ledgerParts))
	var expired []*datastore.Key
	n := 0
	flush := func() error {
		defer func() { expired = expired[:0] }()
		n += len(expired)
		return s.client.Datastore().DeleteMulti(ctx, expired)
	}
	for {
		var r row
		key, err := it.Next(&r)
		if errors.Is(err, iterator.Done) {
			return n, flush()
		}
		if err != nil {
			return n, fmt.Errorf("handlers: read the ledger: %w", err)
		}
		if r.ExpireAt.After(now) {
			continue
		}
		if expired = append(expired, key); len(expired) == batch {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
}
