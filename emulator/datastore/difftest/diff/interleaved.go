package diff

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/grpc/codes"
)

// patience is how long a step of one actor may take before the next actor has
// its turn. A step that waits for a lock takes longer; when a slow one does too,
// there is only more concurrency.
const patience = 40 * time.Millisecond

// answered is a step with its answer.
type answered struct {
	script.Step
	*Answer
}

// interleaved runs the actors of a script side by side on every server, and
// checks of each server on its own that what it acknowledged happened in some
// serial order: which transactions may come through together is the server's
// own affair.
func (r *Runner) interleaved(ctx context.Context, s script.Script) (*Failure, error) {
	servers := append([]Server{r.Ours}, r.Theirs...)
	histories := make([][]answered, len(servers))
	for _, step := range s.Steps {
		r.Counts.step(step)
	}
	project := r.project()
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() { histories[i] = play(ctx, newSession(server, project), s.Steps) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, server := range servers {
		f := &Failure{Script: s, Against: server.Name, Step: s.Steps[len(s.Steps)-1]}
		if i == 0 {
			for _, a := range histories[i] {
				if why := unworthy(a.Answer); why != "" {
					f.Step, f.Differs = a.Step, Difference{"history", why, ""}
					return f, nil
				}
			}
		}
		acknowledged, refused := units(histories[i])
		r.Counts.interleaving(fmt.Sprintf("%s: %d acknowledged, %d refused", server.Name, len(acknowledged), refused))
		ordered, err := r.serial(ctx, s, acknowledged, histories[i], true)
		if err != nil || ordered {
			if err != nil {
				return nil, err
			}
			continue
		}
		f.Differs = Difference{"history", transcript(histories[i]), "no serial order of what was acknowledged leads there"}
		entry, err := r.justifyHistory(ctx, server.Name, s, acknowledged, histories[i])
		if err != nil {
			return nil, err
		}
		if entry == nil {
			return f, nil
		}
		r.Counts.justified(entry.ID)
	}
	return nil, nil
}

// justifyHistory finds the entry for a server whose history has no serial order.
func (r *Runner) justifyHistory(ctx context.Context, of string, s script.Script, acknowledged []unit, history []answered) (*Entry, error) {
	for i := range r.Table {
		e := &r.Table[i]
		if !e.covers(of, "history") {
			continue
		}
		if e.Match != nil {
			if e.Match(&Case{of: of, history: history}) {
				return e, nil
			}
			continue
		}
		// What an entry without Match says: queries aren't protected, what is looked
		// up and written is.
		ordered, err := r.serial(ctx, s, acknowledged, history, false)
		if err != nil {
			return nil, err
		}
		if ordered {
			return e, nil
		}
	}
	return nil, nil
}

// unworthy says why our server must not give such an answer, whatever it was
// asked; "" that it may.
func unworthy(a *Answer) string {
	switch a.Code {
	case codes.OK, codes.Aborted, codes.AlreadyExists, codes.NotFound, codes.InvalidArgument, codes.FailedPrecondition:
		return ""
	}
	return a.Aspect("error")
}

// play runs the steps on one server: those of actor 0 one by one, those of the
// others side by side, started in the order of the script.
func play(ctx context.Context, s *session, steps []script.Step) []answered {
	var history []answered
	first := slices.IndexFunc(steps, func(step script.Step) bool { return step.Actor != 0 })
	last := len(steps) - 1
	for last >= 0 && steps[last].Actor == 0 {
		last--
	}
	alone := func(steps []script.Step) {
		for _, step := range steps {
			ctx, cancel := context.WithTimeout(ctx, stepTimeout)
			history = append(history, answered{step, s.do(ctx, step)})
			cancel()
		}
	}
	if first < 0 {
		alone(steps)
		return history
	}
	alone(steps[:first])
	history = append(history, together(ctx, s, steps[first:last+1])...)
	alone(steps[last+1:])
	return history
}

// together runs each actor's steps in a goroutine of its own. It returns them
// in the order in which they were answered.
func together(ctx context.Context, s *session, steps []script.Step) []answered {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	type job struct {
		script.Step
		done chan struct{}
	}
	var (
		mu      sync.Mutex
		history []answered
		wg      sync.WaitGroup
	)
	actors := map[int]chan job{}
	for _, step := range steps {
		jobs := actors[step.Actor]
		if jobs == nil {
			jobs = make(chan job, len(steps))
			actors[step.Actor] = jobs
			wg.Go(func() {
				var began []int
				for j := range jobs {
					a := answered{j.Step, s.do(ctx, j.Step)}
					began = append(began, j.ID)
					mu.Lock()
					history = append(history, a)
					mu.Unlock()
					close(j.done)
				}
				// Nobody waits for a transaction that the script left open.
				for _, id := range began {
					if s.began(id) {
						s.do(ctx, script.Step{Request: &pb.RollbackRequest{ProjectId: script.Project, Transaction: script.Transaction(id)}})
					}
				}
			})
		}
		j := job{step, make(chan struct{})}
		jobs <- j
		timer := time.NewTimer(patience)
		select {
		case <-j.done:
		case <-timer.C:
		}
		timer.Stop()
	}
	for _, jobs := range actors {
		close(jobs)
	}
	wg.Wait()
	return history
}

// unit is what happens at one point of a serial order: a transaction that was
// acknowledged, with its reads; a commit or a read outside transactions.
type unit struct {
	actor  int
	reads  []answered
	commit *answered
}

// units are what a history acknowledged, in the order of the acknowledgements.
func units(history []answered) (acknowledged []unit, refused int) {
	open := map[int]*unit{} // by the step that began the transaction
	for i := range history {
		a := history[i]
		if a.Actor == 0 {
			continue
		}
		tx := (&Case{Step: a.Step}).transaction()
		switch r := a.Request.(type) {
		case *pb.BeginTransactionRequest:
			open[a.ID] = &unit{actor: a.Actor}
		case *pb.CommitRequest:
			u := open[tx]
			delete(open, tx)
			switch {
			case a.Code != codes.OK:
				refused++
				continue
			case u == nil:
				u = &unit{actor: a.Actor}
			}
			u.commit = &a
			acknowledged = append(acknowledged, *u)
		case *pb.RollbackRequest:
			delete(open, tx)
		case interface{ GetReadOptions() *pb.ReadOptions }:
			if r.GetReadOptions().GetNewTransaction() != nil {
				tx = a.ID
				open[tx] = &unit{actor: a.Actor}
			}
			switch u := open[tx]; {
			case a.Code != codes.OK:
			case u != nil:
				u.reads = append(u.reads, a)
			case tx == 0:
				acknowledged = append(acknowledged, unit{actor: a.Actor, reads: []answered{a}})
			}
		}
	}
	return acknowledged, refused
}

// serial reports whether some order of the units, each actor's in its own
// order, gives the same final answers and the same reads (those by queries only
// if queries is set). It finds out by running orders on our server, one unit
// after the other.
func (r *Runner) serial(ctx context.Context, s script.Script, acknowledged []unit, history []answered, queries bool) (bool, error) {
	var before, after []answered
	met := false
	for _, a := range history {
		switch {
		case a.Actor != 0:
			met = true
		case met:
			after = append(after, a)
		default:
			before = append(before, a)
		}
	}
	for order := range orders(acknowledged) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if r.reenact(ctx, before, order, after, queries) {
			return true, nil
		}
	}
	return false, nil
}

// orders yields every order of units that keeps each actor's own; the order in
// which they were acknowledged comes first.
func orders(all []unit) func(yield func([]unit) bool) {
	return func(yield func([]unit) bool) {
		var extend func(done, left []unit) bool
		extend = func(done, left []unit) bool {
			if len(left) == 0 {
				return yield(done)
			}
			taken := map[int]bool{}
			for i, u := range left {
				if taken[u.actor] {
					continue
				}
				taken[u.actor] = true
				rest := slices.Concat(left[:i], left[i+1:])
				if !extend(append(slices.Clip(done), u), rest) {
					return false
				}
			}
			return true
		}
		extend(nil, all)
	}
}

// reenact runs units one after the other on our server and reports whether all
// is as it was answered.
func (r *Runner) reenact(ctx context.Context, before []answered, order []unit, after []answered, queries bool) bool {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	s := newSession(r.Ours, r.project())
	for _, a := range before {
		s.do(ctx, a.Step)
	}
	same := func(a answered) bool {
		again := s.do(ctx, outside(a.Step))
		return seen(again) == seen(a.Answer)
	}
	for _, u := range order {
		if slices.ContainsFunc(u.reads, func(a answered) bool { return (queries || queryOf(a.Request) == nil) && !same(a) }) {
			return false
		}
		if u.commit != nil && s.do(ctx, outside(u.commit.Step)).Code != codes.OK {
			return false
		}
	}
	return !slices.ContainsFunc(after, func(a answered) bool { return !same(a) })
}

// outside is the step without its transaction.
func outside(step script.Step) script.Step {
	step = script.Script{Steps: []script.Step{step}}.Clone().Steps[0]
	switch r := step.Request.(type) {
	case *pb.LookupRequest:
		r.ReadOptions = nil
	case *pb.RunQueryRequest:
		r.ReadOptions = nil
	case *pb.RunAggregationQueryRequest:
		r.ReadOptions = nil
	case *pb.CommitRequest:
		r.Mode = pb.CommitRequest_TRANSACTIONAL
		r.TransactionSelector = &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: &pb.TransactionOptions{
			Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{}}}}
	}
	return step
}

// seen is what an answer says about what is stored.
func seen(a *Answer) string {
	return strings.Join([]string{a.Aspect("error"), a.Aspect("found"), a.Aspect("missing"), a.Aspect("results")}, "\n")
}

// transcript renders a history for people.
func transcript(history []answered) string {
	var b strings.Builder
	for _, a := range history {
		fmt.Fprintf(&b, "%d by %d %s: %s\n", a.ID, a.Actor, a.Step.Method(), strings.ReplaceAll(strings.TrimSpace(seen(a.Answer)), "\n", "; "))
	}
	return b.String()
}
