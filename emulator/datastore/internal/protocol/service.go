package protocol

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/grpc"
)

// Service answers the RPCs of google.datastore.v1.
type Service struct {
	pb.UnimplementedDatastoreServer
	o     transactions.Options
	store *storage.Store

	mu       sync.RWMutex
	managers map[storage.ID]*transactions.Manager
	indexes  planning.Indexes

	statistics keepers
	metadata   metadataCache

	calls map[string]*atomic.Int64 // by method; the map never changes
}

// New returns the service over a store.
func New(store *storage.Store, o transactions.Options) *Service {
	s := &Service{o: o, store: store, managers: map[storage.ID]*transactions.Manager{}, calls: map[string]*atomic.Int64{}}
	for _, m := range pb.Datastore_ServiceDesc.Methods {
		s.calls["/"+pb.Datastore_ServiceDesc.ServiceName+"/"+m.MethodName] = new(atomic.Int64)
	}
	return s
}

// UseIndexes makes queries ask for the composite indexes that they need. Call it
// before the first request.
func (s *Service) UseIndexes(in planning.Indexes) { s.indexes = in }

// Count is an interceptor that counts the calls of each method.
func (s *Service) Count(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if n := s.calls[info.FullMethod]; n != nil {
		n.Add(1)
	}
	return next(ctx, req)
}

// Calls is how often each RPC was called, by its short name.
func (s *Service) Calls() map[string]int64 {
	prefix := len("/" + pb.Datastore_ServiceDesc.ServiceName + "/")
	calls := make(map[string]int64, len(s.calls))
	for method, n := range maps.All(s.calls) {
		calls[method[prefix:]] = n.Load()
	}
	return calls
}

// Transactions sums up the statistics of all databases.
func (s *Service) Transactions() transactions.Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sum transactions.Stats
	for _, m := range s.managers {
		st := m.Stats()
		sum.Open += st.Open
		sum.Waiting += st.Waiting
		sum.Commits += st.Commits
		sum.Aborts += st.Aborts
		sum.Expired += st.Expired
	}
	return sum
}

// Close ends all transactions.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.managers {
		m.Close()
	}
}

// database is one database as a request sees it.
type database struct {
	partition
	*storage.DB
	tx         *transactions.Manager
	statistics *keepers
	metadata   *metadataCache
	indexes    planning.Indexes // nil: none is ever missing
}

// open checks what every request carries and returns its database.
func (s *Service) open(project, id string) (database, error) {
	d := database{partition: partition{project: project, database: id}}
	if err := d.check(); err != nil {
		return d, err
	}
	d.DB = s.store.DB(storage.ID{Project: project, Database: id})
	d.tx, d.indexes = s.manager(d.DB), s.indexes
	d.statistics, d.metadata = &s.statistics, &s.metadata
	return d, nil
}

// manager returns the database's one, which it makes when it is the first time.
func (s *Service) manager(db *storage.DB) *transactions.Manager {
	s.mu.RLock()
	m := s.managers[db.ID]
	s.mu.RUnlock()
	if m != nil {
		return m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m = s.managers[db.ID]; m == nil {
		m = transactions.New(db, &s.o)
		s.managers[db.ID] = m
	}
	return m
}

// Reset ends all transactions and deletes everything.
func (s *Service) Reset() error {
	for _, db := range s.store.All() {
		if err := s.manager(db).Reset(); err != nil {
			return err
		}
		s.statistics.of(db.ID).Forget()
	}
	return nil
}
