package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// numbers makes the properties of this world mostly numbers, some of them at
// the edges.
func (g *generator) numbers() *pb.Value {
	switch g.IntN(6) {
	case 0:
		return g.scalar()
	case 1:
		return g.double()
	default:
		return integer(pick[int64](g, 1, 2, 3, -5, 1<<62, 1<<62, -(1 << 62)))
	}
}

// aggregations fills the world with numbers and adds them up.
func (g *generator) aggregations() {
	for range g.between(1, 3) {
		req := &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
		seen := map[string]bool{}
		for range g.between(3, 8) {
			k := g.key()
			if name := script.KeyText(k); !seen[name] {
				seen[name] = true
				e := g.entity(k)
				for _, name := range g.names {
					if !g.one(4) {
						e.Properties[name] = g.numbers()
					}
				}
				req.Mutations = append(req.Mutations, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: e}})
			}
		}
		g.add(req)
	}
	for range g.between(8, 16) {
		q := g.query()
		if g.one(2) {
			q.Projection, q.DistinctOn = nil, nil
		}
		g.add(&pb.RunAggregationQueryRequest{ProjectId: script.Project, PartitionId: g.partition(),
			QueryType: &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
				QueryType:    &pb.AggregationQuery_NestedQuery{NestedQuery: q},
				Aggregations: g.aggregates(),
			}}})
	}
}

func (g *generator) aggregates() []*pb.AggregationQuery_Aggregation {
	n := g.between(1, 3)
	if g.one(20) {
		n = pick(g, 0, 5, 6)
	}
	all := make([]*pb.AggregationQuery_Aggregation, n)
	for i := range all {
		all[i] = g.aggregate()
		if g.one(3) {
			all[i].Alias = pick(g, "total", "n", "a b", "é", "property_2") // now and then twice the same
		}
	}
	return all
}

func (g *generator) aggregate() *pb.AggregationQuery_Aggregation {
	switch g.IntN(4) {
	case 0:
		return &pb.AggregationQuery_Aggregation{Operator: &pb.AggregationQuery_Aggregation_Sum_{
			Sum: &pb.AggregationQuery_Aggregation_Sum{Property: property(g.name())}}}
	case 1:
		return &pb.AggregationQuery_Aggregation{Operator: &pb.AggregationQuery_Aggregation_Avg_{
			Avg: &pb.AggregationQuery_Aggregation_Avg{Property: property(g.name())}}}
	default:
		c := &pb.AggregationQuery_Aggregation_Count{}
		if g.one(3) {
			c.UpTo = wrapperspb.Int64(pick[int64](g, 1, 2, 5, 1000))
		}
		return &pb.AggregationQuery_Aggregation{Operator: &pb.AggregationQuery_Aggregation_Count_{Count: c}}
	}
}
