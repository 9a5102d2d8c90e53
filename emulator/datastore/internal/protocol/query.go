package protocol

import (
	"context"
	"time"
	"unicode/utf8"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/protobuf/proto"
)

// RunQuery implements the RPC.
func (s *Service) RunQuery(ctx context.Context, req *pb.RunQueryRequest) (*pb.RunQueryResponse, error) {
	d, err := s.openQuery(req)
	if err != nil {
		return nil, err
	}
	asked, parsed, err := d.askedQuery(req)
	if err != nil {
		return nil, err
	}
	q, err := d.parseQuery(req, asked)
	if err != nil {
		return nil, err
	}
	mask, err := newMask(req.GetPropertyMask())
	if err != nil {
		return nil, err
	}
	if mask != nil && q.ResultType() == pb.EntityResult_PROJECTION {
		return nil, invalid("property masks are not allowed on projection queries")
	}

	var result found
	options := req.GetExplainOptions()
	maxHits := planning.MaxBatch
	if options != nil {
		maxHits = explainedBatch
	}
	began := time.Now()
	r, err := d.read(ctx, req.GetReadOptions(), func(v storage.View) (fp transactions.Footprint) {
		if planOnly(options) {
			result = q.plan(v)
			return transactions.Footprint{}
		}
		result, fp = q.run(v, maxHits)
		return fp
	})
	if err != nil {
		return nil, d.toStatus(err)
	}
	resp := &pb.RunQueryResponse{Query: parsed, Transaction: r.transaction}
	if planOnly(options) {
		resp.ExplainMetrics = explain(result.Indexes, nil)
		return resp, d.toStatus(result.err)
	}
	if options != nil {
		resp.ExplainMetrics = explain(result.Indexes, &execution{}) // in place of what it will be
	}
	if resp.Batch, err = q.batch(&result, mask, maxAnswer-proto.Size(resp)); err != nil {
		d.abandon(r)
		return nil, d.toStatus(err)
	}
	resp.Batch.SnapshotVersion, resp.Batch.ReadTime = result.version, r.timestamp()
	if q.Contradictory() {
		resp.Batch.SnapshotVersion = 1 // recorded: the version of nothing
	}
	switch {
	case resp.Batch.GetMoreResults() == pb.QueryResultBatch_NOT_FINISHED:
		resp.ExplainMetrics = nil
	case options != nil:
		resp.ExplainMetrics = explain(result.Indexes, q.execution(&result, time.Since(began)))
	}
	return resp, nil
}

// queryBatch renders the result of one run, as far as it fits the room that an
// answer has for it.
func queryBatch(q *planning.Query, asked *pb.Query, result *planning.Result, mask *mask, room int) (*pb.QueryResultBatch, error) {
	batch := &pb.QueryResultBatch{
		EntityResultType: q.ResultType(),
		SkippedResults:   int32(result.Skipped),
		SkippedCursor:    q.SkippedCursor(result),
		EndCursor:        asked.GetStartCursor(),
	}
	if result.Skipped > 0 {
		batch.EndCursor = batch.SkippedCursor
	}
	if len(batch.EndCursor) == 0 {
		batch.EndCursor = planning.StartCursor()
	}
	if q.Contradictory() {
		batch.EntityResultType = pb.EntityResult_FULL // recorded: nobody looks what was asked for
	}
	size := 0
	for _, h := range result.Hits {
		if batch.EntityResultType == pb.EntityResult_FULL {
			size += resultSize(h.Entity.Body(), h.Entity)
		}
		size += 64
	}
	wire := make([]byte, 0, max(0, min(size, room)))
	full := result.Full
	var cursor []byte
	for i, h := range result.Hits {
		last, before := cursor, len(wire)
		cursor = q.AppendCursor(nil, h)
		var err error
		if batch.EntityResultType == pb.EntityResult_FULL {
			wire, err = appendResult(wire, fieldResults, h.Entity, mask, cursor)
		} else {
			wire, err = appendProjection(wire, q, h, cursor)
		}
		if err != nil {
			return nil, err
		}
		if i > 0 && len(wire)+len(cursor)+len(batch.SkippedCursor) > room {
			wire, cursor, full = wire[:before], last, true
			break
		}
	}
	if len(result.Hits) > 0 {
		batch.EndCursor = cursor
	}
	switch {
	case full:
		batch.MoreResults = pb.QueryResultBatch_NOT_FINISHED
	case result.AtLimit:
		batch.MoreResults = pb.QueryResultBatch_MORE_RESULTS_AFTER_LIMIT
	case result.AtCursor:
		batch.MoreResults = pb.QueryResultBatch_MORE_RESULTS_AFTER_CURSOR
	default:
		batch.MoreResults = pb.QueryResultBatch_NO_MORE_RESULTS
	}
	batch.ProtoReflect().SetUnknown(wire)
	return batch, nil
}

// appendProjection appends a result that holds the key and the projected
// properties only.
func appendProjection(dst []byte, q *planning.Query, h planning.Hit, cursor []byte) ([]byte, error) {
	body, err := projectionOf(q, h)
	if err != nil {
		return nil, err
	}
	return appendWithCursor(dst, fieldResults, appendField(make([]byte, 0, len(body)+8), fieldEntity, body), cursor), nil
}

// projectionOf is the wire form of an entity with a hit's key and projected
// properties.
func projectionOf(q *planning.Query, h planning.Hit) ([]byte, error) {
	key, err := keyField(h.Entity)
	if err != nil {
		return nil, err
	}
	body := append(make([]byte, 0, len(key)+64), key...)
	values := q.Projected(h)
	for i, name := range q.Projection() {
		v, _, err := encoding.CutValue(values[i])
		if err != nil {
			return nil, err
		}
		if text := v.GetStringValue(); !utf8.ValidString(text) { // it was a blob; the index doesn't tell
			v.ValueType = &pb.Value_BlobValue{BlobValue: []byte(text)}
		}
		v.Meaning = meaningIndexed
		if body, err = appendProperty(body, name, v); err != nil {
			return nil, err
		}
	}
	return body, nil
}
