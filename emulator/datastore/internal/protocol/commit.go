package protocol

import (
	"context"
	"errors"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/protobuf/proto"
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
	planned       []planned
	incomplete    []*pb.Key
	masked        bool
	mutations     []storage.Mutation
}

// planned is a checked mutation.
type planned struct {
	storage.Mutation
	key       *pb.Key
	entity    *pb.Entity
	mask      *mask
	allocated bool // the key was incomplete
}

func (c *commit) selector(req *pb.CommitRequest) (err error) {
	switch req.GetMode() {
	case pb.CommitRequest_MODE_UNSPECIFIED, pb.CommitRequest_TRANSACTIONAL:
	case pb.CommitRequest_NON_TRANSACTIONAL:
		if req.GetTransactionSelector() != nil {
			return invalid("non-transactional commit cannot have a transaction")
		}
		return nil
	default:
		return invalid("unknown commit mode %d", req.GetMode())
	}
	switch t := req.GetTransactionSelector().(type) {
	case *pb.CommitRequest_Transaction:
		if len(t.Transaction) == 0 {
			return invalid("transactional commit requires a transaction")
		}
		c.tx, err = c.database.tx.Find(t.Transaction)
		return err
	case *pb.CommitRequest_SingleUseTransaction:
		if t.SingleUseTransaction.GetReadOnly() != nil {
			return transactions.ErrReadOnly
		}
		return nil
	}
	return invalid("transactional commit requires a transaction")
}

// check turns every mutation into a planned one, or says what is wrong with
// the first bad one.
func (c *commit) check(mutations []*pb.Mutation) error {
	c.planned = make([]planned, len(mutations))
	var last map[string]storage.Op // per entity
	if len(mutations) > 1 {
		last = make(map[string]storage.Op, len(mutations))
	}
	for i, m := range mutations {
		p := &c.planned[i]
		if err := c.mutation(p, m); err != nil {
			return err
		}
		if p.allocated || last == nil {
			continue
		}
		before := last[p.Key]
		if before != 0 && !c.transactional {
			return invalid("A non-transactional commit may not contain multiple mutations affecting the same entity.")
		}
		if before != 0 && (p.Op == storage.Insert && before != storage.Delete || p.Op == storage.Update && before == storage.Delete) {
			return invalid("Cannot %s then %s an entity in the same request.", before, p.Op)
		}
		last[p.Key] = p.Op
	}
	if c.tx != nil && c.tx.ReadOnly() && len(mutations) > 0 {
		return transactions.ErrReadOnly
	}
	return nil
}

func (c *commit) mutation(p *planned, m *pb.Mutation) (err error) {
	switch op := m.GetOperation().(type) {
	case *pb.Mutation_Insert:
		p.Op, p.entity = storage.Insert, op.Insert
	case *pb.Mutation_Update:
		p.Op, p.entity = storage.Update, op.Update
	case *pb.Mutation_Upsert:
		p.Op, p.entity = storage.Upsert, op.Upsert
	case *pb.Mutation_Delete:
		p.Op, p.key = storage.Delete, op.Delete
	default:
		return invalid("a mutation must specify an operation")
	}
	if len(m.GetPropertyTransforms()) > 0 {
		return unimplemented("property_transforms are")
	}
	if err := p.base(m); err != nil {
		return err
	}
	if p.Op == storage.Delete {
		if err := c.completeKey(p.key); err != nil {
			return err
		}
		p.Key = encoding.EntityRow(p.key)
		p.KeyWire, err = proto.Marshal(p.key)
		return err
	}
	if p.entity == nil {
		return invalid("a mutation must specify an entity")
	}
	p.key = p.entity.GetKey()
	complete, err := c.key(p.key)
	switch {
	case err != nil:
		return err
	case complete:
		p.Key = encoding.EntityRow(p.key)
	case p.Op == storage.Update:
		return incomplete(p.key)
	default:
		p.allocated = true
		c.incomplete = append(c.incomplete, p.key)
	}
	if err := c.properties(p.entity.GetProperties(), 0, false); err != nil {
		return err
	}
	if p.mask, err = newMask(m.GetPropertyMask()); p.mask != nil {
		c.masked = true
	}
	return err
}

// base reads what the mutation demands of the stored entity.
func (p *planned) base(m *pb.Mutation) error {
	switch b := m.GetConflictDetectionStrategy().(type) {
	case *pb.Mutation_BaseVersion:
		p.Base = storage.Base{Kind: storage.BaseVersion, Value: b.BaseVersion}
	case *pb.Mutation_UpdateTime:
		if err := b.UpdateTime.CheckValid(); err != nil {
			return invalid("update_time is invalid: %v", err)
		}
		p.Base = storage.Base{Kind: storage.BaseUpdateTime, Value: b.UpdateTime.AsTime().UnixMicro()}
	}
	switch m.GetConflictResolutionStrategy() {
	case pb.Mutation_STRATEGY_UNSPECIFIED, pb.Mutation_SERVER_VALUE:
	case pb.Mutation_FAIL:
		p.Base.Fail = true
	default:
		return invalid("unknown conflict resolution strategy %d", m.GetConflictResolutionStrategy())
	}
	return nil
}

// maxMerges bounds how often masked mutations are computed anew because their
// entities changed meanwhile.
const maxMerges = 100

// run prepares the entities and commits.
func (c *commit) run(ctx context.Context) (storage.Committed, error) {
	if err := c.AllocateIDs(c.incomplete); err != nil {
		return storage.Committed{}, err
	}
	c.mutations = make([]storage.Mutation, len(c.planned))
	for range maxMerges {
		for i := range c.planned {
			if err := c.prepare(i); err != nil {
				return storage.Committed{}, err
			}
		}
		if err := c.checkWritten(); err != nil {
			return storage.Committed{}, err
		}
		done, err := c.database.tx.Commit(ctx, c.tx, c.mutations)
		if !errors.Is(err, storage.ErrChanged) {
			return done, err
		}
	}
	if c.tx != nil {
		c.database.tx.Drop(c.tx)
	}
	return storage.Committed{}, &transactions.ContentionError{}
}

// prepare makes the i-th mutation ready for storage.
func (c *commit) prepare(i int) error {
	p, m := &c.planned[i], &c.mutations[i]
	if p.allocated {
		p.Key = encoding.EntityRow(p.key)
	}
	*m = p.Mutation
	if p.Op == storage.Delete {
		return nil
	}
	entity := p.entity
	if p.mask != nil {
		current := c.current(i)
		var stored *pb.Entity
		if current != nil {
			var err error
			if stored, err = current.Decode(); err != nil {
				return err
			}
		}
		entity = p.mask.merge(stored, p.entity)
		m.Merged, m.MergedWith = true, current
	}
	var err error
	if m.Entity, err = storage.NewEntity(entity); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// current is what the i-th mutation finds: what an earlier one of this commit
// leaves, or else the stored entity.
func (c *commit) current(i int) (e *storage.Entity) {
	key := c.planned[i].Key
	for j := i - 1; j >= 0; j-- {
		if c.mutations[j].Key == key {
			return c.mutations[j].Entity
		}
	}
	c.DB.Read(func(v storage.View) { e = v.Get(key) })
	return e
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
	for i, r := range done.Results {
		m := &results[i]
		resp.MutationResults[i] = m
		m.Version, m.ConflictDetected = r.Version, r.Conflict
		if r.Created != 0 {
			m.CreateTime, m.UpdateTime = timestamp(r.Created), timestamp(r.Version)
		}
		if c.planned[i].allocated {
			m.Key = c.planned[i].key
		}
	}
	return resp
}
