package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// incomplete is a key that lacks its last identifier. Its kind is of its own:
// where allocated identifiers stand in order, each server has its own order.
func (g *generator) incomplete() *pb.Key {
	k := &pb.Key{PartitionId: &pb.PartitionId{ProjectId: script.Project, NamespaceId: "auto"}}
	if g.one(3) {
		k.Path = append(k.Path, &pb.Key_PathElement{Kind: "P", IdType: &pb.Key_PathElement_Id{Id: 777_777_777}})
	}
	k.Path = append(k.Path, &pb.Key_PathElement{Kind: "Auto"})
	return k
}

// ids is about identifiers that the server chooses.
func (g *generator) ids() {
	for range g.between(6, 14) {
		switch g.IntN(5) {
		case 0:
			req := &pb.AllocateIdsRequest{ProjectId: script.Project}
			for range g.between(0, 3) {
				req.Keys = append(req.Keys, g.incomplete())
			}
			if g.one(5) {
				req.Keys = append(req.Keys, g.key())
			}
			g.add(req)
		case 1:
			req := &pb.ReserveIdsRequest{ProjectId: script.Project}
			for range g.between(0, 3) {
				req.Keys = append(req.Keys, g.key())
			}
			if g.one(5) {
				req.Keys = append(req.Keys, g.incomplete())
			}
			g.add(req)
		case 2:
			g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: &pb.PartitionId{ProjectId: script.Project, NamespaceId: "auto"},
				QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{Kind: []*pb.KindExpression{{Name: "Auto"}}}}})
		default:
			req := g.commit(1)
			req.Mutations = nil
			for range g.between(1, 3) {
				m := &pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: g.entity(g.incomplete())}}
				if g.one(3) {
					m = &pb.Mutation{Operation: &pb.Mutation_Insert{Insert: g.entity(g.incomplete())}}
				}
				req.Mutations = append(req.Mutations, m)
			}
			step := g.add(req)
			if g.one(2) {
				k := g.incomplete()
				k.Path = req.Mutations[0].GetUpsert().GetKey().GetPath()
				if k.Path == nil {
					k.Path = req.Mutations[0].GetInsert().GetKey().GetPath()
				}
				last := k.Path[len(k.Path)-1]
				k.Path = append(k.Path[:len(k.Path)-1:len(k.Path)-1], &pb.Key_PathElement{Kind: last.GetKind(), IdType: &pb.Key_PathElement_Id{Id: script.Ref(step, 0)}})
				g.add(&pb.LookupRequest{ProjectId: script.Project, Keys: []*pb.Key{k}})
			}
		}
	}
}
