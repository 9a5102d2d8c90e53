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
	look := func(v storage.View) transactions.Footprint {
		r.time = d.TimeOf(v)
		return f(v)
	}
	var tx *transactions.Tx
	switch c := o.GetConsistencyType().(type) {
	case *pb.ReadOptions_ReadTime:
		past, err := d.past(c.ReadTime)
		if err == nil {
			look(past)
		}
		return r, err
	case *pb.ReadOptions_Transaction:
		if tx, err = d.find(c.Transaction); err != nil {
			return r, err
		}
	case *pb.ReadOptions_NewTransaction:
		if tx, err = d.begin(c.NewTransaction); err != nil {
			return r, err
		}
		r.transaction = tx.ID()
	case *pb.ReadOptions_ReadConsistency_:
		switch c.ReadConsistency {
		case pb.ReadOptions_STRONG, pb.ReadOptions_EVENTUAL:
		default:
			return r, invalid("ReadConsistency must be specified.")
		}
	}
	if tx == nil { // eventual consistency includes strong
		d.DB.Read(func(v storage.View) { look(v) })
		return r, nil
	}
	if err = d.tx.Read(ctx, tx, look); err == nil {
		err = ctx.Err()
	}
	if err != nil && r.transaction != nil {
		d.tx.Drop(tx) // nobody would ever end it
	}
	return r, err
}

// abandon ends the transaction of a read whose answer can't be given: nobody
// else ever would.
func (d database) abandon(r reading) {
	if r.transaction != nil {
		_ = d.tx.Rollback(r.transaction) // fails for none that has just begun
	}
}

// past returns the state at a read_time.
func (d database) past(t *timestamppb.Timestamp) (storage.View, error) {
	micros, err := microseconds(t)
	if err != nil {
		return storage.View{}, err
	}
	if micros == 0 {
		return storage.View{}, invalid("Only timestamps past epoch are supported.")
	}
	if micros > d.ReadTime() {
		return storage.View{}, invalid("The requested 'read_time' cannot be in the future.")
	}
	return d.At(micros)
}

// microseconds is a time that a client names to mean a version.
func microseconds(t *timestamppb.Timestamp) (int64, error) {
	switch {
	case t.CheckValid() != nil:
		return 0, invalid("invalid timestamp: it must be from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z")
	case t.GetNanos()%1000 != 0:
		return 0, invalid("timestamp cannot have more than microseconds precision")
	case t.AsTime().UnixMicro() < 0:
		return 0, invalid("Only timestamps past epoch are supported.")
	}
	return t.AsTime().UnixMicro(), nil
}

// find returns the open transaction that a client names.
func (d database) find(id []byte) (*transactions.Tx, error) {
	if len(id) == 0 {
		return nil, invalid("a transaction cannot be the empty string.")
	}
	return d.tx.Find(id)
}

// begin starts a transaction.
func (d database) begin(o *pb.TransactionOptions) (*transactions.Tx, error) {
	ro := o.GetReadOnly()
	switch {
	case ro == nil:
		return d.tx.Begin(o.GetReadWrite().GetPreviousTransaction())
	case ro.GetReadTime() == nil:
		return d.tx.BeginReadOnly(nil)
	}
	past, err := d.past(ro.GetReadTime())
	if err != nil {
		return nil, err
	}
	return d.tx.BeginReadOnly(&past)
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
