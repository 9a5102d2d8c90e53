package protocol

import (
	"context"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// reading is what a read's answer says about the state that it saw.
type reading struct {
	transaction []byte // of a new transaction
	time        int64  // µs
}

func (r reading) timestamp() *timestamppb.Timestamp { return timestamp(r.time) }

func timestamp(micros int64) *timestamppb.Timestamp {
	return timestamppb.New(time.UnixMicro(micros))
}

// read runs f on the state that the options ask for. f may run more than once,
// see transactions.Manager.Read.
func (d database) read(ctx context.Context, o *pb.ReadOptions, f func(storage.View) transactions.Footprint) (r reading, err error) {
	var tx *transactions.Tx
	switch c := o.GetConsistencyType().(type) {
	case *pb.ReadOptions_ReadTime:
		return r, d.checkReadTime(c.ReadTime)
	case *pb.ReadOptions_Transaction:
		if tx, err = d.tx.Find(c.Transaction); err != nil {
			return r, err
		}
	case *pb.ReadOptions_NewTransaction:
		if tx, err = d.begin(c.NewTransaction); err != nil {
			return r, err
		}
		r.transaction = tx.ID()
	default: // eventual consistency includes strong
		d.DB.Read(func(v storage.View) { f(v) })
		r.time = d.ReadTime()
		return r, nil
	}
	err = d.tx.Read(ctx, tx, func(v storage.View) transactions.Footprint {
		r.time = max(v.Version, 1)
		return f(v)
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if r.transaction != nil {
			d.tx.Drop(tx) // nobody would ever end it
		}
		return r, err
	}
	if !tx.ReadOnly() {
		r.time = d.ReadTime()
	}
	return r, nil
}

// checkReadTime refuses every read_time: those in the future as production
// does, others because superseded versions are not kept.
func (d database) checkReadTime(t *timestamppb.Timestamp) error {
	if err := t.CheckValid(); err != nil {
		return invalid("The requested 'read_time' is invalid: %v", err)
	}
	if t.AsTime().UnixMicro() > d.ReadTime() {
		return invalid("The requested 'read_time' cannot be in the future.")
	}
	return unimplemented("reads at a past read_time are")
}

// begin starts a transaction.
func (d database) begin(o *pb.TransactionOptions) (*transactions.Tx, error) {
	if ro := o.GetReadOnly(); ro != nil {
		if ro.GetReadTime() != nil {
			return nil, d.checkReadTime(ro.GetReadTime())
		}
		return d.tx.Begin(true, nil)
	}
	return d.tx.Begin(false, o.GetReadWrite().GetPreviousTransaction())
}

// BeginTransaction implements the RPC.
func (s *Service) BeginTransaction(ctx context.Context, req *pb.BeginTransactionRequest) (*pb.BeginTransactionResponse, error) {
	d, err := s.open(req.GetProjectId(), req.GetDatabaseId())
	if err != nil {
		return nil, err
	}
	tx, err := d.begin(req.GetTransactionOptions())
	if err != nil {
		return nil, d.toStatus(err)
	}
	return &pb.BeginTransactionResponse{Transaction: tx.ID()}, nil
}

// Rollback implements the RPC.
func (s *Service) Rollback(ctx context.Context, req *pb.RollbackRequest) (*pb.RollbackResponse, error) {
	d, err := s.open(req.GetProjectId(), req.GetDatabaseId())
	if err != nil {
		return nil, err
	}
	if len(req.GetTransaction()) == 0 {
		return nil, invalid("transaction required")
	}
	if err := d.tx.Rollback(req.GetTransaction()); err != nil {
		return nil, d.toStatus(err)
	}
	return &pb.RollbackResponse{}, nil
}
