package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// batches stores more entities than one batch of a query holds.
func (g *generator) batches() {
	n := g.between(301, 450)
	req := &pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL}
	for i := range n {
		req.Mutations = append(req.Mutations, &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{
			Key: &pb.Key{PartitionId: g.partition(), Path: []*pb.Key_PathElement{{Kind: "Many", IdType: &pb.Key_PathElement_Id{Id: int64(i + 1)}}}},
			Properties: map[string]*pb.Value{
				"p": integer(int64(i % 7)), "q": integer(int64(i * 7919 % n)), "r": text(pick(g, "a", "b", "c")),
			},
		}}})
	}
	g.add(req)
	g.names, g.kinds = []string{"p", "q", "r"}, []string{"Many"}
	for range g.between(4, 8) {
		q := &pb.Query{Kind: []*pb.KindExpression{{Name: "Many"}}}
		if g.one(4) {
			q.Kind = nil
		} else {
			g.orders(q)
			if g.one(3) {
				q.Projection = []*pb.Projection{{Property: property(pick(g, "__key__", "p", "q"))}}
			}
			if g.one(3) {
				q.Filter = filter("p", pick(g, pb.PropertyFilter_EQUAL, pb.PropertyFilter_GREATER_THAN), integer(pick[int64](g, 0, 1, 3)))
			}
		}
		if g.one(2) {
			q.Limit = wrapperspb.Int32(int32(pick(g, 299, 300, 301, n-1, n, n+1)))
		}
		if g.one(2) {
			q.Offset = int32(pick(g, 1, 299, 300, 301, n-1, n, n+1))
		}
		g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), QueryType: &pb.RunQueryRequest_Query{Query: q}})
	}
}
