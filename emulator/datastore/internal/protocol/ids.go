package protocol

import (
	"context"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// AllocateIds implements the RPC.
func (s *Service) AllocateIds(ctx context.Context, req *pb.AllocateIdsRequest) (*pb.AllocateIdsResponse, error) {
	d, err := s.open(req.GetProjectId(), req.GetDatabaseId())
	if err != nil {
		return nil, err
	}
	for _, k := range req.GetKeys() {
		complete, err := d.key(k)
		if err != nil {
			return nil, err
		}
		if complete {
			return nil, invalid("Key path element must not be complete: %s", pathText(k))
		}
	}
	if err := checkAllocated(req.GetKeys()); err != nil {
		return nil, err
	}
	if err := d.AllocateIDs(req.GetKeys()); err != nil {
		return nil, d.toStatus(err)
	}
	return &pb.AllocateIdsResponse{Keys: req.GetKeys()}, nil
}

// ReserveIds implements the RPC. Names need no reservation.
func (s *Service) ReserveIds(ctx context.Context, req *pb.ReserveIdsRequest) (*pb.ReserveIdsResponse, error) {
	d, err := s.open(req.GetProjectId(), req.GetDatabaseId())
	if err != nil {
		return nil, err
	}
	if len(req.GetKeys()) == 0 {
		return nil, status.Error(codes.FailedPrecondition, "List of Ids to reserve cannot be empty.")
	}
	var ids []int64
	for _, k := range req.GetKeys() {
		if err := d.completeKey(k); err != nil {
			return nil, err
		}
		if id := k.GetPath()[len(k.GetPath())-1].GetId(); id != 0 {
			ids = append(ids, id)
		}
	}
	if err := d.ReserveIDs(ids); err != nil {
		return nil, d.toStatus(err)
	}
	return &pb.ReserveIdsResponse{}, nil
}
