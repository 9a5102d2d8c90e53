package protocol

import (
	"context"
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/properties"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Commit implements the RPC.
func (s *Service) Commit(ctx context.Context, req *pb.CommitRequest) (*pb.CommitResponse, error) {
	d, err := s.open(req.GetProjectId(), req.GetDatabaseId())
	if err != nil {
		return nil, err
	}
	c := commit{database: d, transactional: req.GetMode() != pb.CommitRequest_NON_TRANSACTIONAL}
	if err := c.selector(req); err != nil {
		return nil, d.toStatus(err)
	}
	if err := c.check(req.GetMutations()); err != nil {
		if c.over && c.tx != nil {
			d.tx.Drop(c.tx)
		}
		return nil, d.toStatus(err)
	}
	done, err := c.run(ctx)
	if err == nil {
		err = done.Synced.Wait()
	}
	if err != nil {
		return nil, d.toStatus(err)
	}
	return c.response(done), nil
}

// commit is one Commit request on its way.
type commit struct {
	database
	transactional bool
	tx            *transactions.Tx // nil: without a transaction, or single use
	over          bool             // what check refuses ends the transaction, as a refusal by the store does
	planned       []planned
	mutations     []storage.Mutation
	incomplete    []*pb.Key
	written       int // bytes of computed entities
	budget        properties.Budget
	maker         storage.Maker
}

// planned is a checked mutation on its way.
type planned struct {
	key        *pb.Key
	entity     *pb.Entity
	mask       *mask
	transforms []properties.Transform
	allocated  bool // the key was incomplete

	// What compute made last, and of what.
	computed    *storage.Entity
	computedOf  *storage.Entity
	computedAt  int64 // µs
	transformed []*pb.Value
	spent       properties.Budget
}

func (c *commit) selector(req *pb.CommitRequest) (err error) {
	switch req.GetMode() {
	case pb.CommitRequest_MODE_UNSPECIFIED, pb.CommitRequest_TRANSACTIONAL:
	case pb.CommitRequest_NON_TRANSACTIONAL:
		if req.GetTransactionSelector() != nil {
			return invalid("non-transaction commit cannot specify a transaction")
		}
		return nil
	default:
		return invalid("unknown commit mode: %d", req.GetMode())
	}
	switch t := req.GetTransactionSelector().(type) {
	case *pb.CommitRequest_Transaction:
		c.tx, err = c.database.find(t.Transaction)
		return err
	case *pb.CommitRequest_SingleUseTransaction:
		if t.SingleUseTransaction.GetReadOnly() != nil {
			return invalid("single_use_transaction in a commit request must be READ_WRITE.")
		}
		return c.database.tx.CheckPrevious(t.SingleUseTransaction.GetReadWrite().GetPreviousTransaction())
	}
	return invalid("transactional commit requires a transaction")
}

// check turns every mutation into a planned one, or says what is wrong with
// the first bad one.
func (c *commit) check(mutations []*pb.Mutation) error {
	c.planned = make([]planned, len(mutations))
	c.mutations = make([]storage.Mutation, len(mutations))
	c.budget = properties.MaxWork
	var last map[string]earlier // per entity
	if len(mutations) > 1 {
		last = make(map[string]earlier, len(mutations))
	}
	for i, m := range mutations {
		p, s := &c.planned[i], &c.mutations[i]
		if err := c.mutation(p, s, m); err != nil {
			return err
		}
		if p.allocated || last == nil {
			continue
		}
		now := earlier{op: s.Op, base: s.Base, strategy: m.GetConflictResolutionStrategy()}
		if before, ok := last[s.Key]; ok {
			if err := c.follows(before, s, now.strategy); err != nil {
				return err
			}
			now.base = before.base
		}
		last[s.Key] = now
	}
	if c.tx != nil && c.tx.ReadOnly() && len(mutations) > 0 {
		return transactions.ErrReadOnly
	}
	return c.checkAnswer()
}

// earlier is what came before a mutation of the same entity: the last one, with
// the base of the first.
type earlier struct {
	op       storage.Op
	base     storage.Base
	strategy pb.Mutation_ConflictResolutionStrategy
}

// follows checks whether a mutation may come after another one of the same
// entity.
func (c *commit) follows(before earlier, m *storage.Mutation, strategy pb.Mutation_ConflictResolutionStrategy) error {
	switch {
	case !c.transactional:
		return invalid("A non-transactional commit may not contain multiple mutations affecting the same entity.")
	case m.Op == storage.Insert && before.op != storage.Delete, m.Op == storage.Update && before.op == storage.Delete:
		c.over = true
		return invalid("Cannot %s then %s an entity in the same request.", before.op, m.Op)
	case strategy != before.strategy:
		return invalid("Mutations for the same entity must have the same conflict resolution strategy.")
	case m.Base.Kind != storage.NoBase && (before.base.Kind == storage.NoBase || m.Base.Value != before.base.Value):
		return invalid("Mutations for the same entity must have the same base version.")
	}
	return nil
}

func (c *commit) mutation(p *planned, s *storage.Mutation, m *pb.Mutation) (err error) {
	switch op := m.GetOperation().(type) {
	case *pb.Mutation_Insert:
		s.Op, p.entity = storage.Insert, op.Insert
	case *pb.Mutation_Update:
		s.Op, p.entity = storage.Update, op.Update
	case *pb.Mutation_Upsert:
		s.Op, p.entity = storage.Upsert, op.Upsert
	case *pb.Mutation_Delete:
		s.Op, p.key = storage.Delete, op.Delete
	default:
		return invalid("Mutation is missing operation.")
	}
	if s.Op == storage.Delete {
		if len(m.GetPropertyTransforms()) > 0 {
			return invalid("Delete mutation cannot have PropertyTransforms.")
		}
		if err := c.completeKey(p.key); err != nil {
			return err
		}
		s.Key = encoding.EntityRow(p.key)
		if s.KeyWire, err = proto.Marshal(p.key); err != nil {
			return err
		}
		return c.base(s, m)
	}
	if p.key = p.entity.GetKey(); p.key == nil {
		return invalid("Entity is missing key.")
	}
	complete, err := c.key(p.key)
	switch {
	case err != nil:
		return err
	case complete:
		s.Key = encoding.EntityRow(p.key)
	case s.Op == storage.Update:
		return incomplete(p.key)
	case m.GetConflictDetectionStrategy() != nil:
		return invalid("conflict detection is not allowed for incomplete keys")
	default:
		p.allocated = true
		c.incomplete = append(c.incomplete, p.key)
	}
	if err := c.base(s, m); err != nil {
		return err
	}
	if err := c.properties(p.entity.GetProperties(), 0, false); err != nil {
		return err
	}
	if p.transforms, err = c.transforms(m.GetPropertyTransforms()); err != nil {
		return err
	}
	p.mask, err = newWriteMask(m.GetPropertyMask())
	return err
}

// base reads what the mutation demands of the stored entity.
func (c *commit) base(s *storage.Mutation, m *pb.Mutation) error {
	switch b := m.GetConflictDetectionStrategy().(type) {
	case nil:
		if m.GetConflictResolutionStrategy() != pb.Mutation_STRATEGY_UNSPECIFIED {
			return invalid("cannot set a conflict resolution strategy if no detection strategy was set")
		}
		return nil
	case *pb.Mutation_BaseVersion:
		if b.BaseVersion < 0 {
			return invalid("Invalid base_version: %d, it should be >= 0", b.BaseVersion)
		}
		s.Base = storage.Base{Kind: storage.BaseVersion, Value: b.BaseVersion}
	case *pb.Mutation_UpdateTime:
		micros, err := microseconds(b.UpdateTime)
		if err != nil {
			return err
		}
		s.Base = storage.Base{Kind: storage.BaseUpdateTime, Value: micros}
	}
	switch {
	case s.Base.Value > 0 && s.Op == storage.Insert:
		c.over = true
		return invalid("Cannot insert an entity with a base version greater than zero: %s", c.reference(s.Key))
	case s.Base.Value == 0 && s.Op == storage.Update:
		c.over = true
		return invalid("Cannot update an entity with a base version set to zero: %s", c.reference(s.Key))
	}
	switch m.GetConflictResolutionStrategy() {
	case pb.Mutation_STRATEGY_UNSPECIFIED, pb.Mutation_SERVER_VALUE:
	case pb.Mutation_FAIL:
		s.Base.Fail = true
	default:
		return invalid("Unknown conflict resolution strategy.")
	}
	return nil
}

// run prepares the entities and commits.
func (c *commit) run(ctx context.Context) (storage.Committed, error) {
	if err := c.AllocateIDs(c.incomplete); err != nil {
		return storage.Committed{}, err
	}
	for i := range c.planned {
		p, s := &c.planned[i], &c.mutations[i]
		if p.allocated {
			s.Key = encoding.EntityRow(p.key)
		}
		var err error
		switch {
		case s.Op == storage.Delete:
		case p.mask != nil || len(p.transforms) > 0:
			s.Compute = func(current *storage.Entity, now int64) (*storage.Entity, error) {
				return c.compute(p, current, now)
			}
		default:
			if s.Entity, err = c.newEntity(p.entity); err != nil {
				return storage.Committed{}, err
			}
		}
	}
	// Most of the work is done here, outside the locks. The commit computes
	// again what has changed by its turn.
	if err := c.Prepare(c.mutations); err != nil {
		return storage.Committed{}, err
	}
	return c.database.tx.Commit(ctx, c.tx, c.mutations)
}

func (c *commit) newEntity(e *pb.Entity) (*storage.Entity, error) {
	out, err := c.maker.Make(e)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return out, nil
}

// compute makes the entity of a mutation with a mask or transforms.
func (c *commit) compute(p *planned, current *storage.Entity, now int64) (*storage.Entity, error) {
	if p.computed != nil && !p.outdated(current, now) {
		return p.computed, nil
	}
	entity := p.entity
	if len(p.transforms) > 0 {
		entity = proto.CloneOf(entity) // they change it
	}
	if p.mask != nil {
		var stored *pb.Entity
		if current != nil {
			var err error
			if stored, err = current.Decode(); err != nil {
				return nil, err
			}
		}
		entity = p.mask.merge(stored, entity)
	}
	p.transformed = make([]*pb.Value, len(p.transforms))
	c.budget += p.spent
	left := c.budget
	for i := range p.transforms {
		var err error
		if p.transformed[i], err = p.transforms[i].Apply(entity, now, &c.budget); err != nil {
			return nil, invalid("%v", err)
		}
	}
	p.spent = left - c.budget
	if len(p.transforms) > 0 {
		if err := c.properties(entity.GetProperties(), 0, false); err != nil {
			return nil, err
		}
	}
	computed, err := c.newEntity(entity)
	if err != nil {
		return nil, err
	}
	c.written += len(computed.Body())
	if p.computed != nil {
		c.written -= len(p.computed.Body())
	}
	if c.written > maxRequest {
		return nil, invalid("A transaction writes at most %d bytes; this one writes %d.", maxRequest, c.written)
	}
	p.computed, p.computedOf, p.computedAt = computed, current, now
	return computed, nil
}

// outdated reports whether what was computed is not what would be computed now.
func (p *planned) outdated(current *storage.Entity, now int64) bool {
	if p.mask != nil && p.computedOf != current {
		return true
	}
	return p.computedAt/1000 != now/1000 && slices.ContainsFunc(p.transforms, func(t properties.Transform) bool { return t.Timed() })
}

func (c *commit) response(done storage.Committed) *pb.CommitResponse {
	resp := &pb.CommitResponse{IndexUpdates: int32(done.IndexUpdates)}
	if c.transactional {
		resp.CommitTime = timestamp(done.Version)
	}
	if len(done.Results) == 0 {
		return resp
	}
	resp.MutationResults = make([]*pb.MutationResult, len(done.Results))
	results := make([]pb.MutationResult, len(done.Results))
	now := timestamp(done.Version)
	at := func(micros int64) *timestamppb.Timestamp {
		if micros == done.Version {
			return now // one for all
		}
		return timestamp(micros)
	}
	for i, r := range done.Results {
		m := &results[i]
		resp.MutationResults[i] = m
		m.Version, m.ConflictDetected = r.Version, r.Conflict
		if r.Created != 0 {
			m.CreateTime, m.UpdateTime = at(r.Created), at(r.Version)
		}
		if c.planned[i].allocated {
			m.Key = c.planned[i].key
		}
		if !r.Conflict {
			m.TransformResults = c.planned[i].transformed
		}
	}
	return resp
}
