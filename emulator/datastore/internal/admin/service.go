package admin

import (
	"context"
	"log/slog"

	"cloud.google.com/go/datastore/admin/apiv1/adminpb"
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	lro "cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"google.golang.org/grpc"
)

// Data is what exports read, and what imports write as any client does. All of
// its errors are statuses.
type Data interface {
	// CheckProject checks the identifier of a project.
	CheckProject(id string) error
	// Snapshot is the present state of a database, for keeping.
	Snapshot(project, database string) (storage.View, error)
	Commit(context.Context, *pb.CommitRequest) (*pb.CommitResponse, error)
	ReserveIds(context.Context, *pb.ReserveIdsRequest) (*pb.ReserveIdsResponse, error)
}

// Service answers the RPCs of google.datastore.admin.v1 and of
// google.longrunning.Operations.
type Service struct {
	adminpb.UnimplementedDatastoreAdminServer
	operations operations

	data    Data
	indexes *indexes.Keeper
	folder  Folder
	logger  *slog.Logger
}

// Options for New; the zero value and nil mean the defaults stated.
type Options struct {
	Indexes *indexes.Keeper // of every project; nil has none, and takes none
	Folder  Folder          // of exports; the zero value refuses them
	Logger  *slog.Logger    // nil discards
}

// New returns the service over the data.
func New(data Data, o *Options) *Service {
	if o == nil {
		o = &Options{}
	}
	s := &Service{data: data, indexes: o.Indexes, folder: o.Folder, logger: o.Logger}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	return s
}

// Register registers both services.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	adminpb.RegisterDatastoreAdminServer(r, s)
	lro.RegisterOperationsServer(r, &s.operations)
}

// Close cancels the operations that are running and waits for their end.
func (s *Service) Close() { s.operations.close() }
