package protocol

import (
	"cmp"
	"math"
	"slices"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/planning"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
	"github.com/latchwork/latchwork/emulator/datastore/internal/texts"
	"github.com/latchwork/latchwork/emulator/datastore/internal/transactions"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// maxNearest bounds the results of one search.
const maxNearest = 100

// nearest is the last stage of a query: of its results, those whose vectors are
// closest to one, the closest first, and by key where they are equally close.
// Orders only demand that their properties are there.
//
// A distance that isn't a number (a cosine of a vector without length has none)
// is no distance: such entities are not found, nor are those without a vector
// of as many dimensions.
type nearest struct {
	property  string
	vector    []float64
	measure   pb.FindNearest_DistanceMeasure
	limit     int
	threshold *float64

	result  string // the property that shows the distance; "": none
	alone   bool   // a projection of nothing else was asked for
	visible bool   // no projection, or one that names it
}

// parseNearest checks the stage of a query and returns it, together with the
// query of what comes before it.
func parseNearest(q *pb.Query) (*nearest, *pb.Query, error) {
	m := q.GetFindNearest()
	if m == nil {
		return nil, q, nil
	}
	switch {
	case q.GetLimit() != nil:
		return nil, nil, invalid("A query limit cannot be used with FindNearest")
	case q.GetOffset() != 0:
		return nil, nil, invalid("A query offset cannot be used with FindNearest")
	case len(q.GetStartCursor()) > 0 || len(q.GetEndCursor()) > 0:
		return nil, nil, invalid("A cursor cannot be used with FindNearest")
	case m.GetLimit().GetValue() < 1 || m.GetLimit().GetValue() > maxNearest:
		return nil, nil, invalid("FindNearest.limit must be a positive integer of no more than %d", maxNearest)
	}
	n := &nearest{property: m.GetVectorProperty().GetName(), limit: int(m.GetLimit().GetValue()),
		measure: m.GetDistanceMeasure(), result: m.GetDistanceResultProperty(), visible: true}
	switch n.measure {
	case pb.FindNearest_EUCLIDEAN, pb.FindNearest_COSINE, pb.FindNearest_DOT_PRODUCT:
	default:
		return nil, nil, invalid("Unknown Distance Measure.")
	}
	if t := m.GetDistanceThreshold(); t != nil {
		if math.IsNaN(t.GetValue()) || math.IsInf(t.GetValue(), 0) {
			return nil, nil, invalid("distanceThreshold must be a finite number.")
		}
		n.threshold = &t.Value
	}
	if n.result != "" {
		if err := checkName("The distanceResultField.property.name", n.result); err != nil {
			return nil, nil, err
		}
	}
	var err error
	if n.vector, err = queryVector(m.GetQueryVector()); err != nil {
		return nil, nil, err
	}
	before := proto.CloneOf(q)
	before.FindNearest = nil
	if n.result != "" && len(q.GetProjection()) > 0 {
		before.Projection = slices.DeleteFunc(before.GetProjection(), func(p *pb.Projection) bool {
			return p.GetProperty().GetName() == n.result
		})
		n.visible = len(before.GetProjection()) < len(q.GetProjection())
		n.alone = len(before.GetProjection()) == 0
	}
	return n, before, nil
}

// neighbor is a result of a search.
type neighbor struct {
	planning.Hit
	distance float64
}

// search goes through all results of the query. Vectors are not indexed: every
// entity that it looked at could change the outcome.
func (n *nearest) search(q *planning.Query, view storage.View) ([]neighbor, planning.Scan, transactions.Footprint) {
	found := make([]neighbor, 0, n.limit+1)
	vector := make([]float64, 0, len(n.vector))
	var fp transactions.Footprint
	scan := q.Each(view, func(h planning.Hit) bool {
		fp.Keys = append(fp.Keys, h.Entity.Key())
		var ok bool
		if vector, ok = appendVector(vector[:0], h.Entity.Body(), n.property); !ok || len(vector) != len(n.vector) {
			return true
		}
		d := distance(n.measure, n.vector, vector)
		if math.IsNaN(d) || n.threshold != nil && n.closer(*n.threshold, d) < 0 {
			return true
		}
		next := neighbor{h, d}
		at, _ := slices.BinarySearchFunc(found, next, func(a, b neighbor) int {
			return cmp.Or(n.closer(a.distance, b.distance), cmp.Compare(a.Entity.Key(), b.Entity.Key()), -1)
		})
		found = slices.Insert(found, at, next)
		found = found[:min(len(found), n.limit)]
		return true
	})
	fp.Ranges = footprint(scan)
	return found, scan, fp
}

// closer orders distances, the closest first.
func (n *nearest) closer(a, b float64) int {
	if n.measure == pb.FindNearest_DOT_PRODUCT {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

// distance measures two vectors of the same dimensions.
func distance(measure pb.FindNearest_DistanceMeasure, a, b []float64) float64 {
	var dot, lengthA, lengthB, squares float64
	for i, x := range a {
		y := b[i]
		switch measure {
		case pb.FindNearest_EUCLIDEAN:
			squares += (x - y) * (x - y)
		case pb.FindNearest_COSINE:
			lengthA += x * x
			lengthB += y * y
			dot += x * y
		default:
			dot += x * y
		}
	}
	switch measure {
	case pb.FindNearest_EUCLIDEAN:
		return math.Sqrt(squares)
	case pb.FindNearest_COSINE:
		return 1 - dot/(math.Sqrt(lengthA)*math.Sqrt(lengthB))
	}
	return dot
}

// nearestBatch renders the results of a search. Their cursors are positions in
// the query before it, which a search doesn't take.
func (q *query) nearestBatch(neighbors []neighbor, mask *mask, room int) (*pb.QueryResultBatch, error) {
	batch := &pb.QueryResultBatch{EntityResultType: q.ResultType(), MoreResults: pb.QueryResultBatch_NO_MORE_RESULTS,
		EndCursor: planning.StartCursor()}
	var wire []byte
	for _, n := range neighbors {
		body, err := q.neighborBody(n, mask)
		if err != nil {
			return nil, err
		}
		result := appendField(make([]byte, 0, len(body)+64), fieldEntity, body)
		if batch.EntityResultType == pb.EntityResult_FULL {
			result = n.Entity.AppendTimes(result)
		}
		batch.EndCursor = q.AppendCursor(nil, n.Hit)
		wire = appendWithCursor(wire, fieldResults, result, batch.EndCursor)
		if len(wire) > room {
			return nil, status.Error(codes.ResourceExhausted, texts.Sprintf("The nearest results exceed %d bytes: ask for fewer, or for a projection or a property mask.", room))
		}
	}
	batch.ProtoReflect().SetUnknown(wire)
	return batch, nil
}

// neighborBody is the wire form of a result's entity. A distance appended to
// the properties replaces one of the same name: the last of them counts.
func (q *query) neighborBody(n neighbor, mask *mask) (body []byte, err error) {
	visible := q.nearest.result != "" && q.nearest.visible
	switch {
	case q.ResultType() != pb.EntityResult_FULL:
		if body, err = projectionOf(q.Query, n.Hit); err != nil {
			return nil, err
		}
	case mask != nil:
		visible = visible && slices.Contains(mask.paths, q.nearest.result)
		m, err := n.Entity.Decode()
		if err != nil {
			return nil, err
		}
		if body, err = proto.Marshal(mask.apply(m)); err != nil {
			return nil, err
		}
	default:
		body = slices.Clone(n.Entity.Body())
	}
	if !visible {
		return body, nil
	}
	return appendProperty(body, q.nearest.result, doubleValue(n.distance))
}
