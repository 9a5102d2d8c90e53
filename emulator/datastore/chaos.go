package datastore

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"github.com/latchwork/latchwork/emulator/internal/chaos"
)

// unavailable is the outages of the API.
func (s *Server) unavailable() grpc.UnaryServerInterceptor {
	return s.chaos.Outage(chaos.DatastoreOutage, "/google.datastore.v1.Datastore/",
		func(method string) bool { return strings.HasSuffix(method, "/Commit") })
}

// abort answers commits that are struck as those that lose to others: with
// ABORTED, and their transactions are over.
func (s *Server) abort(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	commit, ok := req.(*pb.CommitRequest)
	if !ok || !s.chaos.On(chaos.Abort) {
		return next(ctx, req)
	}
	if _, struck := s.chaos.StrikesNext(chaos.Abort, firstKey(commit)); !struck {
		return next(ctx, req)
	}
	if len(commit.GetTransaction()) > 0 {
		_, err := s.service.Rollback(ctx, &pb.RollbackRequest{
			ProjectId: commit.GetProjectId(), DatabaseId: commit.GetDatabaseId(), Transaction: commit.GetTransaction(),
		})
		if err != nil {
			return next(ctx, req) // no transaction that could lose: the commit's own error says so
		}
	}
	return nil, status.Error(codes.Aborted, (&transactions.ContentionError{}).Error()+" (chaos)")
}

// firstKey names a commit: by the first entity that it changes.
func firstKey(commit *pb.CommitRequest) string {
	if len(commit.GetMutations()) == 0 {
		return ""
	}
	var key *pb.Key
	switch m := commit.GetMutations()[0]; op := m.GetOperation().(type) {
	case *pb.Mutation_Insert:
		key = op.Insert.GetKey()
	case *pb.Mutation_Update:
		key = op.Update.GetKey()
	case *pb.Mutation_Upsert:
		key = op.Upsert.GetKey()
	case *pb.Mutation_Delete:
		key = op.Delete
	}
	name := []string{key.GetPartitionId().GetNamespaceId()}
	for _, e := range key.GetPath() {
		name = append(name, e.GetKind(), cmp.Or(e.GetName(), strconv.FormatInt(e.GetId(), 10)))
	}
	return strings.Join(name, "/")
}
