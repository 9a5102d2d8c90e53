package generate

import (
	"math"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// malformed sends requests with one mistake each.
func (g *generator) malformed() {
	g.classic, g.arrays = true, false
	g.fill()
	for range g.between(8, 16) {
		switch g.IntN(4) {
		case 0:
			g.badKey()
		case 1:
			g.badValue()
		case 2:
			g.badQuery()
		default:
			g.badRequest()
		}
	}
}

// badKey uses a key with a mistake, anywhere that a key may stand.
func (g *generator) badKey() {
	k := proto.Clone(g.key()).(*pb.Key)
	last := k.Path[len(k.Path)-1]
	name := func(s string) { last.IdType = &pb.Key_PathElement_Name{Name: s} }
	switch g.IntN(15) {
	case 0:
		last.IdType = nil
	case 1:
		last.IdType = &pb.Key_PathElement_Id{}
	case 2:
		name("")
	case 3:
		name(strings.Repeat("n", pick(g, 1500, 1501)))
	case 4:
		name(pick(g, "__d__", "____", "__a"))
	case 5:
		last.Kind = pick(g, "", "__r__", strings.Repeat("k", 1500), strings.Repeat("k", 1501))
	case 6:
		k.Path = nil
	case 7:
		for len(k.Path) < pick(g, 100, 101) {
			k.Path = append([]*pb.Key_PathElement{{Kind: "K", IdType: &pb.Key_PathElement_Id{Id: 1}}}, k.Path...)
		}
	case 8:
		k.PartitionId = &pb.PartitionId{ProjectId: "another"}
	case 9:
		k.PartitionId = &pb.PartitionId{ProjectId: script.Project, NamespaceId: pick(g, "bad ns!", strings.Repeat("n", 101), "__reserved__", "é")}
	case 10:
		k.PartitionId = &pb.PartitionId{ProjectId: script.Project, DatabaseId: pick(g, "(default)", "other")}
	case 11:
		k.Path = append([]*pb.Key_PathElement{{Kind: "P"}}, k.Path...)
	case 12:
		last.IdType = &pb.Key_PathElement_Id{Id: pick[int64](g, -1, math.MinInt64, math.MaxInt64)}
	case 13:
		k.PartitionId = nil
	case 14:
		k = nil
	}
	mutation := func(m *pb.Mutation) {
		req := g.commit(1)
		req.Mutations = []*pb.Mutation{m}
		g.add(req)
	}
	complete := k != nil && len(k.Path) > 0 && k.Path[len(k.Path)-1].GetIdType() != nil
	switch g.IntN(8) {
	case 0:
		g.add(&pb.LookupRequest{ProjectId: script.Project, Keys: []*pb.Key{g.key(), k}})
	case 1:
		mutation(&pb.Mutation{Operation: &pb.Mutation_Delete{Delete: k}})
	case 2:
		mutation(&pb.Mutation{Operation: &pb.Mutation_Update{Update: &pb.Entity{Key: k}}})
	case 3:
		if complete {
			mutation(&pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: k}}})
		}
	case 4:
		mutation(&pb.Mutation{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: g.key(), Properties: map[string]*pb.Value{"p": keyValue(k)}}}})
	case 5:
		g.ask(&pb.Query{Kind: []*pb.KindExpression{{Name: "A"}}, Filter: filter("__key__", pick(g, pb.PropertyFilter_EQUAL, pb.PropertyFilter_GREATER_THAN, pb.PropertyFilter_HAS_ANCESTOR), keyValue(k))})
	case 6:
		g.add(&pb.ReserveIdsRequest{ProjectId: script.Project, Keys: []*pb.Key{k}})
	case 7:
		if complete {
			g.add(&pb.AllocateIdsRequest{ProjectId: script.Project, Keys: []*pb.Key{k}})
		}
	}
}

func (g *generator) ask(q *pb.Query) {
	g.add(&pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(), QueryType: &pb.RunQueryRequest_Query{Query: q}})
}

// badValue stores an entity with a mistake, or one just short of it.
func (g *generator) badValue() {
	name, v := "p", integer(1)
	long := func(n int) *pb.Value {
		if g.one(2) {
			return text(strings.Repeat("s", n))
		}
		return &pb.Value{ValueType: &pb.Value_BlobValue{BlobValue: []byte(strings.Repeat("b", n))}}
	}
	switch g.IntN(15) {
	case 0:
		v = &pb.Value{}
	case 1:
		v = long(pick(g, 1500, 1501))
	case 2:
		v = long(pick(g, 1501, 100_000))
		v.ExcludeFromIndexes = true
	case 3:
		v = array(array(integer(1)))
	case 4:
		v = array(integer(1))
		v.ExcludeFromIndexes = true
	case 5:
		v = array(integer(1))
		v.Meaning = pick[int32](g, 1, 18, 31)
	case 6:
		v = integer(1)
		v.Meaning = pick[int32](g, 14, 15, 18, 31, 99, -1)
	case 7:
		v = &pb.Value{ValueType: &pb.Value_GeoPointValue{GeoPointValue: &latlng.LatLng{
			Latitude: pick(g, 90, 90.5, -91, math.NaN()), Longitude: pick(g, 180, 180.5, -181, math.Inf(1))}}}
	case 8:
		v = &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{
			Seconds: pick[int64](g, -62135596800, -62135596801, 253402300799, 253402300800), Nanos: pick[int32](g, 0, 999_999_999, -1, 1_000_000_000)}}}
	case 9:
		name = pick(g, "", "__p__", strings.Repeat("n", 1500), strings.Repeat("n", 1501), "a.b", "a`b", "é")
	case 10:
		v = g.nested(pick(g, 19, 20, 21))
	case 11:
		v = &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: map[string]*pb.Value{pick(g, "", "__p__"): integer(1)}}}}
	case 12:
		v = &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Key: pick(g, &pb.Key{}, &pb.Key{Path: []*pb.Key_PathElement{{Kind: "A"}}})}}}
	case 13:
		v = g.vector(pick(g, 0, 1, 2048, 2049))
		v.ExcludeFromIndexes = g.one(2)
	case 14:
		v = array(&pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: map[string]*pb.Value{"x": array(g.scalar())}}}})
	}
	req := g.commit(1)
	req.Mutations = []*pb.Mutation{{Operation: &pb.Mutation_Upsert{Upsert: &pb.Entity{Key: g.key(), Properties: map[string]*pb.Value{name: v}}}}}
	g.add(req)
}

// nested is an entity within an entity, so many times.
func (g *generator) nested(n int) *pb.Value {
	v := integer(1)
	for range n {
		v = &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: &pb.Entity{Properties: map[string]*pb.Value{"x": v}}}}
	}
	return v
}

// badQuery asks with a mistake.
func (g *generator) badQuery() {
	q := &pb.Query{Kind: []*pb.KindExpression{{Name: "A"}}}
	many := func(n int) *pb.Value {
		vs := make([]*pb.Value, n)
		for i := range vs {
			vs[i] = integer(int64(i))
		}
		return array(vs...)
	}
	switch g.IntN(24) {
	case 0:
		q.Kind = append(q.Kind, &pb.KindExpression{Name: "B"})
	case 1:
		q.Limit = wrapperspb.Int32(-1)
	case 2:
		q.Offset = -1
	case 3:
		q.StartCursor = []byte(pick(g, "garbage", "\x00", "\x0a\x05"))
	case 4:
		q.Filter = composite(pick(g, pb.CompositeFilter_AND, pb.CompositeFilter_OR))
	case 5:
		q.Filter = composite(pick(g, pb.CompositeFilter_OPERATOR_UNSPECIFIED, 7), filter("p", pb.PropertyFilter_EQUAL, integer(1)))
	case 6:
		q.Filter = filter("p", pick(g, pb.PropertyFilter_OPERATOR_UNSPECIFIED, 12), integer(1))
	case 7:
		q.Filter = filter("p", pick(g, pb.PropertyFilter_EQUAL, pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_NOT_EQUAL), array(integer(1)))
	case 8:
		q.Filter = filter("p", pick(g, pb.PropertyFilter_EQUAL, pb.PropertyFilter_LESS_THAN, pb.PropertyFilter_NOT_EQUAL), g.nested(1))
	case 9:
		q.Filter = filter("__key__", pick(g, pb.PropertyFilter_EQUAL, pb.PropertyFilter_HAS_ANCESTOR, pb.PropertyFilter_LESS_THAN), integer(1))
	case 10:
		q.Filter = filter("p", pb.PropertyFilter_HAS_ANCESTOR, keyValue(g.key()))
	case 11:
		q.Filter = filter("p", pb.PropertyFilter_IN, pick(g, many(0), many(30), many(31), integer(1), array(many(1))))
	case 12:
		q.Filter = filter("p", pb.PropertyFilter_NOT_IN, pick(g, many(0), many(10), many(11), integer(1), array(many(1))))
	case 13:
		q.Filter = composite(pb.CompositeFilter_AND, filter("p", pb.PropertyFilter_NOT_EQUAL, integer(1)), filter("q", pick(g, pb.PropertyFilter_NOT_EQUAL, pb.PropertyFilter_EQUAL), integer(1)))
	case 14:
		q.Filter = composite(pb.CompositeFilter_AND, filter("p", pb.PropertyFilter_NOT_IN, many(2)), filter("q", pick(g, pb.PropertyFilter_NOT_IN, pb.PropertyFilter_IN), many(2)))
	case 15:
		q.Filter = composite(pb.CompositeFilter_AND, filter("p", pb.PropertyFilter_IN, many(6)), filter("q", pb.PropertyFilter_IN, many(pick(g, 5, 6))))
	case 16:
		q.Filter = filter(pick(g, "", "__p__", strings.Repeat("n", 1501)), pb.PropertyFilter_EQUAL, integer(1))
	case 17:
		q.Order = []*pb.PropertyOrder{{Property: property(pick(g, "", "__p__", "p")), Direction: pick[pb.PropertyOrder_Direction](g, 1, 2, 7)}}
	case 18:
		q.Projection = []*pb.Projection{{Property: property("p")}, {Property: property(pick(g, "p", "", "__p__"))}}
	case 19:
		q.DistinctOn = []*pb.PropertyReference{property(pick(g, "", "__key__", "__p__", "p"))}
	case 20:
		q.Kind[0].Name = pick(g, "", "__r__", strings.Repeat("k", 1501))
	case 21:
		q.Filter = &pb.Filter{}
	case 22:
		q.Filter = filter("p", pb.PropertyFilter_EQUAL, nil)
	case 23:
		deep := filter("p", pb.PropertyFilter_EQUAL, integer(1))
		for range pick(g, 10, 60) {
			deep = composite(pb.CompositeFilter_AND, deep)
		}
		q.Filter = deep
	}
	g.ask(q)
}

// badRequest has a mistake around what it asks for.
func (g *generator) badRequest() {
	upsert := []*pb.Mutation{{Operation: &pb.Mutation_Upsert{Upsert: g.entity(g.key())}}}
	ask := &pb.RunQueryRequest{ProjectId: script.Project, PartitionId: g.partition(),
		QueryType: &pb.RunQueryRequest_Query{Query: &pb.Query{Kind: []*pb.KindExpression{{Name: "A"}}}}}
	switch g.IntN(20) {
	case 0:
		g.add(&pb.LookupRequest{Keys: []*pb.Key{g.key()}})
	case 1:
		g.add(&pb.LookupRequest{ProjectId: script.Project, DatabaseId: pick(g, "(default)", "other"), Keys: []*pb.Key{g.key()}})
	case 2:
		g.add(&pb.LookupRequest{ProjectId: script.Project})
	case 3:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mutations: upsert})
	case 4:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_TRANSACTIONAL, Mutations: upsert})
	case 5:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_TRANSACTIONAL, Mutations: upsert,
			TransactionSelector: &pb.CommitRequest_Transaction{Transaction: []byte(pick(g, "", "bogus", "\x11\x01\x00\x00\x00\x00\x00\x00\x7f"))}})
	case 6:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_TRANSACTIONAL, Mutations: upsert,
			TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: pick(g, readOnly(), &pb.TransactionOptions{})}})
	case 7:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: append(upsert, upsert[0])})
	case 8:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: upsert,
			TransactionSelector: &pb.CommitRequest_SingleUseTransaction{SingleUseTransaction: readWrite()}})
	case 9:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mode: pick[pb.CommitRequest_Mode](g, 2, 7)})
	case 10:
		g.add(&pb.RollbackRequest{ProjectId: script.Project, Transaction: []byte(pick(g, "", "bogus"))})
	case 11:
		ask.ReadOptions = &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadConsistency_{
			ReadConsistency: pick[pb.ReadOptions_ReadConsistency](g, 0, 1, 2, 9)}}
		if g.one(2) {
			g.add(&pb.LookupRequest{ProjectId: script.Project, ReadOptions: ask.ReadOptions, Keys: []*pb.Key{g.key()}})
			break
		}
		g.add(ask)
	case 12:
		ask.ReadOptions = within([]byte(pick(g, "", "bogus")))
		g.add(ask)
	case 13:
		ask.QueryType = nil
		g.add(ask)
	case 14:
		ask.PartitionId = pick(g, &pb.PartitionId{ProjectId: "another"}, &pb.PartitionId{NamespaceId: "bad ns!"}, nil)
		g.add(ask)
	case 15:
		g.add(&pb.BeginTransactionRequest{ProjectId: script.Project, TransactionOptions: &pb.TransactionOptions{
			Mode: &pb.TransactionOptions_ReadWrite_{ReadWrite: &pb.TransactionOptions_ReadWrite{PreviousTransaction: []byte("bogus")}}}})
	case 16:
		ask.ReadOptions = &pb.ReadOptions{ConsistencyType: &pb.ReadOptions_ReadTime{ReadTime: pick(g,
			&timestamppb.Timestamp{Seconds: 250_000_000_000}, &timestamppb.Timestamp{Seconds: 1}, &timestamppb.Timestamp{Seconds: -1, Nanos: -1})}}
		g.add(ask)
	case 17:
		g.add(&pb.CommitRequest{ProjectId: script.Project, Mode: pb.CommitRequest_NON_TRANSACTIONAL, Mutations: []*pb.Mutation{{}}})
	case 18:
		ask.PropertyMask = &pb.PropertyMask{Paths: []string{pick(g, "p", "", "p.x", "__key__", "`")}}
		if g.one(2) {
			ask.GetQuery().Projection = []*pb.Projection{{Property: property(pick(g, "p", "__key__"))}}
		}
		g.add(ask)
	case 19:
		req := &pb.RunAggregationQueryRequest{ProjectId: script.Project, PartitionId: g.partition()}
		if g.one(2) {
			req.QueryType = &pb.RunAggregationQueryRequest_AggregationQuery{AggregationQuery: &pb.AggregationQuery{
				Aggregations: []*pb.AggregationQuery_Aggregation{g.aggregate()}}}
		}
		g.add(req)
	}
}
