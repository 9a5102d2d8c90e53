package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// vector is an embedding of so many dimensions.
func (g *generator) vector(n int) *pb.Value {
	vs := make([]*pb.Value, n)
	for i := range vs {
		vs[i] = &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: pick(g, 0, 1, -1, 2.5, 3, -0.5)}}
	}
	v := array(vs...)
	v.Meaning, v.ExcludeFromIndexes = 31, true
	return v
}

// vectors stores embeddings and looks for neighbours.
func (g *generator) vectors() {
	for range g.between(1, 3) {
		req := &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
		seen := map[string]bool{}
		for range g.between(2, 6) {
			k := g.key()
			name := script.KeyText(k)
			if seen[name] {
				continue
			}
			seen[name] = true
			e := g.entity(k)
			switch g.IntN(10) {
			case 0:
			case 1:
				e.Properties["v"] = g.scalar()
			case 2:
				e.Properties["v"] = g.vector(2)
			default:
				e.Properties["v"] = g.vector(3)
			}
			req.Mutations = append(req.Mutations, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: e}})
		}
		g.add(req)
	}
	for range g.between(6, 12) {
		near := &pb.FindNearest{
			VectorProperty:  property(pick(g, "v", "v", "v", "v", "p")),
			QueryVector:     g.vector(3),
			DistanceMeasure: pick(g, pb.FindNearest_EUCLIDEAN, pb.FindNearest_COSINE, pb.FindNearest_DOT_PRODUCT),
			Limit:           wrapperspb.Int32(int32(pick(g, 1, 2, 3, 10, 100))),
		}
		if g.one(20) {
			near.QueryVector = pick(g, g.vector(2), g.vector(0), array(integer(1)), integer(1))
		}
		if g.one(20) {
			near.Limit = pick(g, nil, wrapperspb.Int32(0), wrapperspb.Int32(101), wrapperspb.Int32(1001), wrapperspb.Int32(-1))
		}
		if g.one(20) {
			near.DistanceMeasure = pick(g, pb.FindNearest_DISTANCE_MEASURE_UNSPECIFIED, 9)
		}
		if g.one(3) {
			near.DistanceResultProperty = pick(g, "d", "d", "p")
		}
		if g.one(3) {
			near.DistanceThreshold = wrapperspb.Double(pick(g, 0, 0.5, 1, 3, -1))
		}
		q := &pb.Query{Kind: []*pb.KindExpression{{Name: g.kind()}}, FindNearest: near}
		if g.one(3) {
			q.Filter = filter(g.name(), pb.PropertyFilter_EQUAL, g.scalar())
		}
		if g.one(12) {
			g.orders(q)
		}
		if g.one(8) {
			g.window(q)
		}
		if g.one(8) {
			q.Projection = []*pb.Projection{{Property: property(pick(g, "__key__", "p"))}}
		}
		g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), QueryType: &pb.RunQueryRequest_Query{Query: q}})
	}
}
