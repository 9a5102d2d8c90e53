package generate

import (
	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// metadata asks what kinds, namespaces and properties there are.
func (g *generator) metadata() {
	for range g.between(1, 3) {
		g.fill()
		g.namespace = pick(g, "", "n1", "n2")
	}
	for range g.between(6, 12) {
		if g.one(8) {
			g.add(g.commit(1))
		}
		kind := pick(g, "__kind__", "__property__", "__namespace__", "__property__")
		if g.one(12) {
			kind = pick(g, "__Stat_Total__", "__Stat_Kind__")
		}
		q := &pb.Query{Kind: []*pb.KindExpression{{Name: kind}}}
		var fs []*pb.Filter
		if kind == "__property__" && g.one(3) {
			fs = append(fs, filter("__key__", pb.PropertyFilter_HAS_ANCESTOR, keyValue(g.metaKey("__kind__", pick(g, "A", "B", "Z")))))
		}
		for g.one(2) && len(fs) < 2 {
			fs = append(fs, filter("__key__", g.inequality(), keyValue(g.metaKeyOf(kind))))
		}
		g.join(q, fs)
		if g.one(3) {
			q.Projection = []*pb.Projection{{Property: property("__key__")}}
		} else if kind == "__property__" && g.one(4) {
			q.Projection = []*pb.Projection{{Property: property("property_representation")}}
		}
		if g.one(4) {
			q.Order = []*pb.PropertyOrder{{Property: property("__key__"), Direction: pb.PropertyOrder_ASCENDING}}
		}
		g.window(q)
		g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), QueryType: &pb.RunQueryRequest_Query{Query: q}})
	}
}

func (g *generator) metaKey(kind, name string) *pb.Key {
	return &pb.Key{PartitionId: g.partition(), Path: []*pb.Key_PathElement{{Kind: kind, IdType: &pb.Key_PathElement_Name{Name: name}}}}
}

func (g *generator) metaKeyOf(kind string) *pb.Key {
	switch kind {
	case "__property__":
		k := g.metaKey("__kind__", pick(g, "A", "B", "Z"))
		if !g.one(4) {
			k.Path = append(k.Path, &pb.Key_PathElement{Kind: "__property__", IdType: &pb.Key_PathElement_Name{Name: pick(g, "p", "q", "a")}})
		}
		return k
	case "__namespace__":
		if g.one(3) {
			k := g.metaKey(kind, "")
			k.Path[0].IdType = &pb.Key_PathElement_Id{Id: 1}
			return k
		}
		return g.metaKey(kind, pick(g, "n1", "n2", "a"))
	}
	return g.metaKey(kind, pick(g, "A", "B", "0", "Z"))
}
