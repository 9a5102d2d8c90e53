package protocol

import (
	"context"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/protobuf/proto"
)

// maxAnswer bounds an answer with entities: lookups defer those that would go
// over it, queries end the batch before them. gRPC clients take 4 MiB unless
// told otherwise, and Google's Go client doesn't tell. The first entity is
// always in, or nothing would ever come of the request: it fits, but beside
// keys or cursors of megabytes.
const maxAnswer = 4<<20 - answerMargin

// answerMargin is for what isn't counted: a transaction, times, counts.
const answerMargin = 1 << 10

// maxLookup bounds the keys of one lookup.
const maxLookup = 1000

// resultSlack is more than a result takes beside its entity or its key: tags,
// lengths, a version.
const resultSlack = 32

// Lookup implements the RPC.
func (s *Service) Lookup(ctx context.Context, req *pb.LookupRequest) (*pb.LookupResponse, error) {
	d, err := s.open(req.GetProjectId(), req.GetDatabaseId())
	if err != nil {
		return nil, err
	}
	keys := req.GetKeys()
	if len(keys) > maxLookup {
		return nil, invalid("cannot get more than %d keys in a single call: %d", maxLookup, len(keys))
	}
	rows := make([]string, 0, len(keys))
	asked := make([]*pb.Key, 0, len(keys))
	keySizes := make([]int, 0, len(keys))
	allKeys := 0
	var seen map[string]bool // a key asked for twice is answered once
	if len(keys) > 1 {
		seen = make(map[string]bool, len(keys))
	}
	for _, k := range keys {
		if err := d.readKey(k); err != nil {
			return nil, err
		}
		row := encoding.EntityRow(k)
		if seen[row] {
			continue
		}
		if seen != nil {
			seen[row] = true
		}
		rows = append(rows, row)
		asked = append(asked, k)
		keySizes = append(keySizes, proto.Size(k)+resultSlack)
		allKeys += keySizes[len(rows)-1]
	}
	mask, err := newMask(req.GetPropertyMask())
	if err != nil {
		return nil, err
	}

	statistics, err := d.statisticsOf(asked)
	if err != nil {
		return nil, d.toStatus(err)
	}
	found := make([]*storage.Entity, 0, len(rows))
	var version int64
	r, err := d.read(ctx, req.GetReadOptions(), func(v storage.View) transactions.Footprint {
		version = max(1, v.Version) // what is missing from an empty database has one, too
		found = found[:0]
		size := allKeys // an answer has every key: of what is found, missing or deferred
		for i, row := range rows {
			e := v.Get(row)
			if e == nil {
				e = statistics[row]
			}
			if e != nil {
				size += resultSize(e.Body(), e) + resultSlack - keySizes[i]
				if size > maxAnswer && len(found) > 0 {
					break
				}
			}
			found = append(found, e)
		}
		return transactions.Footprint{Keys: rows[:len(found)]}
	})
	if err != nil {
		return nil, d.toStatus(err)
	}

	resp := &pb.LookupResponse{Transaction: r.transaction, ReadTime: r.timestamp(), Deferred: asked[len(found):]}
	if req.GetReadOptions().GetReadConsistency() == pb.ReadOptions_EVENTUAL {
		version = 0 // as documented
	}
	var wire []byte
	for i, e := range found {
		if e == nil {
			resp.Missing = append(resp.Missing, &pb.EntityResult{Entity: &pb.Entity{Key: asked[i]}, Version: version})
			continue
		}
		if wire, err = appendResult(wire, fieldFound, e, mask, nil); err != nil {
			return nil, d.toStatus(err)
		}
	}
	if len(resp.Deferred) == 0 {
		resp.Deferred = nil
	}
	resp.ProtoReflect().SetUnknown(wire)
	return resp, nil
}
